-- probe: server
SELECT @@global.server_id AS server_id, @@global.version_comment AS version_comment, @@global.hostname AS hostname, @@global.port AS port, @@global.report_host AS report_host, @@global.report_port AS report_port, @@global.read_only AS read_only, @@global.log_bin AS log_bin, @@global.binlog_format AS binlog_format, @@global.super_read_only AS super_read_only, @@global.server_uuid AS server_uuid, @@global.gtid_mode AS gtid_mode, @@global.gtid_executed AS gtid_executed, @@global.log_slave_updates AS log_updates;
-- probe: replication status
SHOW SLAVE STATUS;
-- probe: variables
SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'rpl_semi_sync_%' OR Variable_name IN ('slave_parallel_workers', 'replica_parallel_workers', 'slave_parallel_threads', 'slave_preserve_commit_order', 'replica_preserve_commit_order', 'wsrep_on');
-- probe: status counters
SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Rpl_semi_sync_master_status', 'Rpl_semi_sync_slave_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_master_wait_sessions', 'Rpl_semi_sync_source_status', 'Rpl_semi_sync_replica_status', 'Rpl_semi_sync_source_clients', 'Rpl_semi_sync_source_wait_sessions');
-- probe: replicas
SHOW SLAVE HOSTS;
-- probe: binlog dump threads
SHOW PROCESSLIST;
-- probe: replication heartbeats
SELECT s.CHANNEL_NAME AS channel, s.LAST_HEARTBEAT_TIMESTAMP AS last, s.COUNT_RECEIVED_HEARTBEATS AS received, c.HEARTBEAT_INTERVAL AS period FROM performance_schema.replication_connection_status s JOIN performance_schema.replication_connection_configuration c USING (CHANNEL_NAME);
-- now and then: grants
(SELECT CURRENT_USER() AS grantee, 'SELF' AS privilege FROM mysql.user LIMIT 1) UNION (SELECT GRANTEE, 'PASS' FROM information_schema.USER_PRIVILEGES WHERE REPLACE(PRIVILEGE_TYPE, '_', ' ') IN ('SUPER')) UNION (SELECT GRANTEE, 'WRITE' FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE IN ('INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER')) UNION (SELECT GRANTEE, 'WRITE' FROM information_schema.SCHEMA_PRIVILEGES WHERE PRIVILEGE_TYPE IN ('INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER')) UNION (SELECT GRANTEE, 'WRITE' FROM information_schema.TABLE_PRIVILEGES WHERE PRIVILEGE_TYPE IN ('INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER'));
-- now and then: group replication
SELECT MEMBER_STATE AS state FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@global.server_uuid;
-- write: vitals
SELECT @@global.read_only AS read_only, @@global.max_connections AS max_connections; SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_connected', 'Rpl_semi_sync_master_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_master_wait_sessions', 'Rpl_semi_sync_master_yes_tx', 'Rpl_semi_sync_source_status', 'Rpl_semi_sync_source_clients', 'Rpl_semi_sync_source_wait_sessions', 'Rpl_semi_sync_source_yes_tx'); SHOW GLOBAL VARIABLES WHERE Variable_name IN ('rpl_semi_sync_master_wait_for_slave_count', 'rpl_semi_sync_source_wait_for_replica_count');
-- write: prepare
SET SESSION sql_log_bin = 0, autocommit = 1;
-- write: create
CREATE DATABASE IF NOT EXISTS `switchyard`; CREATE TABLE IF NOT EXISTS `switchyard`.heartbeat (writer VARCHAR(128) CHARACTER SET utf8 NOT NULL PRIMARY KEY, written DATETIME(6) NOT NULL) ENGINE = InnoDB;
-- write
INSERT INTO `switchyard`.heartbeat (writer, written) SELECT 'c1', NOW(6) FROM DUAL WHERE @@global.read_only = 0 ON DUPLICATE KEY UPDATE written = NOW(6); SELECT ROW_COUNT() AS written;
-- write: log
SHOW MASTER STATUS;
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
-- stop applier
STOP SLAVE SQL_THREAD;
-- undelay, receiving
CHANGE MASTER TO MASTER_DELAY = 0;
-- undelay, stopped
CHANGE MASTER TO MASTER_DELAY = 0, MASTER_AUTO_POSITION = 0, RELAY_LOG_FILE = 'relay.000002', RELAY_LOG_POS = 432;
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
CHANGE MASTER TO MASTER_HOST = 'db1.example.com', MASTER_PORT = 3307, MASTER_USER = 'repl', MASTER_PASSWORD = 'it''s a \\ secret', MASTER_CONNECT_RETRY = 1, MASTER_RETRY_COUNT = 86400, MASTER_HEARTBEAT_PERIOD = 0.500, MASTER_AUTO_POSITION = 1;
-- change source, TLS
CHANGE MASTER TO MASTER_HOST = 'db1.example.com', MASTER_PORT = 3307, MASTER_USER = 'repl', MASTER_PASSWORD = 'it''s a \\ secret', MASTER_CONNECT_RETRY = 1, MASTER_RETRY_COUNT = 86400, MASTER_HEARTBEAT_PERIOD = 0.500, MASTER_SSL = 1, MASTER_SSL_VERIFY_SERVER_CERT = 1, MASTER_SSL_CA = '/tls/ca.pem', MASTER_SSL_CERT = '/tls/cert.pem', MASTER_SSL_KEY = '/tls/key.pem', MASTER_AUTO_POSITION = 1;
-- change source, no TLS
CHANGE MASTER TO MASTER_HOST = 'db1.example.com', MASTER_PORT = 3307, MASTER_USER = 'repl', MASTER_PASSWORD = 'it''s a \\ secret', MASTER_CONNECT_RETRY = 1, MASTER_RETRY_COUNT = 86400, MASTER_HEARTBEAT_PERIOD = 0.500, MASTER_SSL = 0, MASTER_AUTO_POSITION = 1;
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
