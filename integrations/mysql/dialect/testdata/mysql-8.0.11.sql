-- probe: server
SELECT @@global.server_id AS server_id, @@global.hostname AS hostname, @@global.port AS port, @@global.report_host AS report_host, @@global.report_port AS report_port, @@global.read_only AS read_only, @@global.log_bin AS log_bin, @@global.binlog_format AS binlog_format, @@global.super_read_only AS super_read_only, @@global.server_uuid AS server_uuid, @@global.gtid_mode AS gtid_mode, @@global.gtid_executed AS gtid_executed, @@global.log_slave_updates AS log_updates;
-- probe: replication status
SHOW SLAVE STATUS;
-- probe: semi-sync variables
SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%';
-- probe: status counters
SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Rpl_semi_sync_master_status', 'Rpl_semi_sync_slave_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_source_status', 'Rpl_semi_sync_replica_status', 'Rpl_semi_sync_source_clients');
-- probe: replicas
SHOW SLAVE HOSTS;
-- probe: binlog dump threads
SHOW PROCESSLIST;
-- probe: replication heartbeats
SELECT s.CHANNEL_NAME AS channel, s.LAST_HEARTBEAT_TIMESTAMP AS last, s.COUNT_RECEIVED_HEARTBEATS AS received, c.HEARTBEAT_INTERVAL AS period FROM performance_schema.replication_connection_status s JOIN performance_schema.replication_connection_configuration c USING (CHANNEL_NAME);
-- tripwire
SET SESSION max_execution_time = 0; SELECT /* switchyard tripwire */ SLEEP(31536000);
-- executed
SELECT @@global.server_id AS server_id, @@global.gtid_executed AS gtid_executed;
-- stop receiver
STOP SLAVE IO_THREAD;
-- start receiver
START SLAVE IO_THREAD;
-- start applier
START SLAVE SQL_THREAD;
-- stop
STOP SLAVE;
-- start
START SLAVE;
-- reset
RESET SLAVE ALL;
-- wait
SELECT WAIT_FOR_EXECUTED_GTID_SET('0-1-2', 0.250) AS waited;
-- adopt own writes
;
-- change source
CHANGE MASTER TO MASTER_HOST = 'db1.example.com', MASTER_PORT = 3307, MASTER_USER = 'repl', MASTER_PASSWORD = 'it''s a \\ secret', MASTER_CONNECT_RETRY = 1, MASTER_RETRY_COUNT = 86400, MASTER_HEARTBEAT_PERIOD = 0.500, GET_MASTER_PUBLIC_KEY = 1, MASTER_AUTO_POSITION = 1;
-- change source, TLS
CHANGE MASTER TO MASTER_HOST = 'db1.example.com', MASTER_PORT = 3307, MASTER_USER = 'repl', MASTER_PASSWORD = 'it''s a \\ secret', MASTER_CONNECT_RETRY = 1, MASTER_RETRY_COUNT = 86400, MASTER_HEARTBEAT_PERIOD = 0.500, MASTER_SSL = 1, MASTER_SSL_VERIFY_SERVER_CERT = 1, MASTER_SSL_CA = '/tls/ca.pem', MASTER_SSL_CERT = '/tls/cert.pem', MASTER_SSL_KEY = '/tls/key.pem', MASTER_AUTO_POSITION = 1;
-- change source, no TLS
CHANGE MASTER TO MASTER_HOST = 'db1.example.com', MASTER_PORT = 3307, MASTER_USER = 'repl', MASTER_PASSWORD = 'it''s a \\ secret', MASTER_CONNECT_RETRY = 1, MASTER_RETRY_COUNT = 86400, MASTER_HEARTBEAT_PERIOD = 0.500, MASTER_SSL = 0, GET_MASTER_PUBLIC_KEY = 1, MASTER_AUTO_POSITION = 1;
-- heartbeat
SELECT HEARTBEAT_INTERVAL AS period FROM performance_schema.replication_connection_configuration WHERE CHANNEL_NAME = '';
-- read-only
SET GLOBAL super_read_only = 1;
-- writable
SET GLOBAL read_only = 0;
-- read-only?
SELECT @@global.read_only AS read_only, @@global.super_read_only AS super_read_only;
-- sessions
information_schema.PROCESSLIST;
