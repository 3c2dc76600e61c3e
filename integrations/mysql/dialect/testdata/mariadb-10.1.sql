-- probe: server
SELECT @@global.server_id AS server_id, @@global.hostname AS hostname, @@global.port AS port, @@global.report_host AS report_host, @@global.report_port AS report_port, @@global.read_only AS read_only, @@global.log_bin AS log_bin, @@global.binlog_format AS binlog_format, @@global.gtid_binlog_state AS gtid_binlog_state, @@global.gtid_slave_pos AS gtid_slave_pos, @@global.gtid_binlog_pos AS gtid_binlog_pos, @@global.log_slave_updates AS log_updates;
-- probe: replication status
SHOW ALL SLAVES STATUS;
-- probe: semi-sync variables
SHOW GLOBAL VARIABLES LIKE 'rpl_semi_sync_%';
-- probe: status counters
SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Rpl_semi_sync_master_status', 'Rpl_semi_sync_slave_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_source_status', 'Rpl_semi_sync_replica_status', 'Rpl_semi_sync_source_clients');
-- probe: replicas
SHOW SLAVE HOSTS;
-- probe: binlog dump threads
SHOW PROCESSLIST;
-- tripwire
SET SESSION max_statement_time = 0; SELECT /* switchyard tripwire */ SLEEP(31536000);
-- executed
SELECT @@global.server_id AS server_id, @@global.gtid_binlog_state AS gtid_binlog_state, @@global.gtid_slave_pos AS gtid_slave_pos, @@global.gtid_binlog_pos AS gtid_binlog_pos;
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
SELECT MASTER_GTID_WAIT('0-1-2', 0.250) AS waited;
-- adopt own writes
SET GLOBAL gtid_slave_pos = @@global.gtid_current_pos;
-- change source
CHANGE MASTER TO MASTER_HOST = 'db1.example.com', MASTER_PORT = 3307, MASTER_USER = 'repl', MASTER_PASSWORD = 'it''s a \\ secret', MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 0.500, MASTER_USE_GTID = slave_pos;
-- change source, TLS
CHANGE MASTER TO MASTER_HOST = 'db1.example.com', MASTER_PORT = 3307, MASTER_USER = 'repl', MASTER_PASSWORD = 'it''s a \\ secret', MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 0.500, MASTER_SSL = 1, MASTER_SSL_VERIFY_SERVER_CERT = 1, MASTER_SSL_CA = '/tls/ca.pem', MASTER_SSL_CERT = '/tls/cert.pem', MASTER_SSL_KEY = '/tls/key.pem', MASTER_USE_GTID = slave_pos;
-- change source, no TLS
CHANGE MASTER TO MASTER_HOST = 'db1.example.com', MASTER_PORT = 3307, MASTER_USER = 'repl', MASTER_PASSWORD = 'it''s a \\ secret', MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 0.500, MASTER_SSL = 0, MASTER_USE_GTID = slave_pos;
-- heartbeat
;
-- read-only
SET GLOBAL read_only = 1;
-- writable
SET GLOBAL read_only = 0;
-- read-only?
SELECT @@global.read_only AS read_only, 0 AS super_read_only;
-- sessions
information_schema.PROCESSLIST;
