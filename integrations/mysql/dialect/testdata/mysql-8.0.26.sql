-- probe: server
SELECT @@global.server_id AS server_id, @@global.hostname AS hostname, @@global.port AS port, @@global.report_host AS report_host, @@global.report_port AS report_port, @@global.read_only AS read_only, @@global.log_bin AS log_bin, @@global.binlog_format AS binlog_format, @@global.super_read_only AS super_read_only, @@global.server_uuid AS server_uuid, @@global.gtid_mode AS gtid_mode, @@global.gtid_executed AS gtid_executed, @@global.log_replica_updates AS log_updates;
-- probe: replication status
SHOW REPLICA STATUS;
-- probe: semi-sync variables
SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%';
-- probe: status counters
SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Rpl_semi_sync_master_status', 'Rpl_semi_sync_slave_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_source_status', 'Rpl_semi_sync_replica_status', 'Rpl_semi_sync_source_clients');
-- probe: replicas
SHOW REPLICAS;
-- probe: binlog dump threads
SELECT HOST AS `Host`, COMMAND AS `Command` FROM performance_schema.processlist WHERE COMMAND LIKE 'Binlog Dump%';
-- probe: replication heartbeats
SELECT s.CHANNEL_NAME AS channel, s.LAST_HEARTBEAT_TIMESTAMP AS last, s.COUNT_RECEIVED_HEARTBEATS AS received, c.HEARTBEAT_INTERVAL AS period FROM performance_schema.replication_connection_status s JOIN performance_schema.replication_connection_configuration c USING (CHANNEL_NAME);
-- tripwire
SET SESSION max_execution_time = 0; SELECT /* switchyard tripwire */ SLEEP(31536000);
-- executed
SELECT @@global.server_id AS server_id, @@global.gtid_executed AS gtid_executed;
-- stop receiver
STOP REPLICA IO_THREAD;
-- start receiver
START REPLICA IO_THREAD;
-- start applier
START REPLICA SQL_THREAD;
-- stop
STOP REPLICA;
-- start
START REPLICA;
-- reset
RESET REPLICA ALL;
-- wait
SELECT WAIT_FOR_EXECUTED_GTID_SET('0-1-2', 0.250) AS waited;
-- adopt own writes
;
-- change source
CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db1.example.com', SOURCE_PORT = 3307, SOURCE_USER = 'repl', SOURCE_PASSWORD = 'it''s a \\ secret', SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400, SOURCE_HEARTBEAT_PERIOD = 0.500, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_AUTO_POSITION = 1;
-- change source, TLS
CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db1.example.com', SOURCE_PORT = 3307, SOURCE_USER = 'repl', SOURCE_PASSWORD = 'it''s a \\ secret', SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400, SOURCE_HEARTBEAT_PERIOD = 0.500, SOURCE_SSL = 1, SOURCE_SSL_VERIFY_SERVER_CERT = 1, SOURCE_SSL_CA = '/tls/ca.pem', SOURCE_SSL_CERT = '/tls/cert.pem', SOURCE_SSL_KEY = '/tls/key.pem', SOURCE_AUTO_POSITION = 1;
-- change source, no TLS
CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'db1.example.com', SOURCE_PORT = 3307, SOURCE_USER = 'repl', SOURCE_PASSWORD = 'it''s a \\ secret', SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400, SOURCE_HEARTBEAT_PERIOD = 0.500, SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_AUTO_POSITION = 1;
-- heartbeat
SELECT HEARTBEAT_INTERVAL AS period FROM performance_schema.replication_connection_configuration WHERE CHANNEL_NAME = '';
-- read-only
SET GLOBAL super_read_only = 1;
-- writable
SET GLOBAL read_only = 0;
-- read-only?
SELECT @@global.read_only AS read_only, @@global.super_read_only AS super_read_only;
-- sessions
performance_schema.processlist;
