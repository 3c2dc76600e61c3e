-- probe: server
SELECT @@global.server_id AS server_id, @@global.version_comment AS version_comment, @@global.hostname AS hostname, @@global.port AS port, @@global.report_host AS report_host, @@global.report_port AS report_port, @@global.read_only AS read_only, @@global.log_bin AS log_bin, @@global.binlog_format AS binlog_format, @@global.gtid_binlog_state AS gtid_binlog_state, @@global.gtid_slave_pos AS gtid_slave_pos, @@global.gtid_binlog_pos AS gtid_binlog_pos, @@global.log_slave_updates AS log_updates;
-- probe: replication status
SHOW ALL SLAVES STATUS;
-- probe: variables
SHOW GLOBAL VARIABLES WHERE Variable_name LIKE 'rpl_semi_sync_%' OR Variable_name IN ('slave_parallel_workers', 'replica_parallel_workers', 'slave_parallel_threads', 'slave_preserve_commit_order', 'replica_preserve_commit_order', 'wsrep_on', 'master_retry_count', 'replicate_do_db', 'replicate_ignore_db', 'replicate_do_table', 'replicate_ignore_table', 'replicate_wild_do_table', 'replicate_wild_ignore_table', 'replicate_rewrite_db', 'replicate_do_domain_ids', 'replicate_ignore_domain_ids');
-- probe: status counters
SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Rpl_semi_sync_master_status', 'Rpl_semi_sync_slave_status', 'Rpl_semi_sync_master_clients', 'Rpl_semi_sync_master_wait_sessions', 'Rpl_semi_sync_source_status', 'Rpl_semi_sync_replica_status', 'Rpl_semi_sync_source_clients', 'Rpl_semi_sync_source_wait_sessions', 'Binlog_snapshot_file', 'Binlog_snapshot_position');
-- probe: replicas
SHOW SLAVE HOSTS;
-- probe: binlog dump threads
SHOW PROCESSLIST;
-- now and then: grants
(SELECT CURRENT_USER() AS grantee, 'SELF' AS privilege FROM mysql.user LIMIT 1) UNION (SELECT GRANTEE, 'PASS' FROM information_schema.USER_PRIVILEGES WHERE REPLACE(PRIVILEGE_TYPE, '_', ' ') IN ('SUPER', 'READ ONLY ADMIN')) UNION (SELECT GRANTEE, 'WRITE' FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE IN ('INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER')) UNION (SELECT GRANTEE, 'WRITE' FROM information_schema.SCHEMA_PRIVILEGES WHERE PRIVILEGE_TYPE IN ('INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER')) UNION (SELECT GRANTEE, 'WRITE' FROM information_schema.TABLE_PRIVILEGES WHERE PRIVILEGE_TYPE IN ('INSERT', 'UPDATE', 'DELETE', 'CREATE', 'DROP', 'ALTER')) UNION (SELECT CONCAT('\'', User, '\'@\'\''), 'PASS' FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.is_role') = 1 AND CAST(JSON_VALUE(Priv, '$.access') AS UNSIGNED) & (1 << 15 | 1 << 33)) UNION (SELECT CONCAT('\'', User, '\'@\'\''), 'WRITE' FROM mysql.global_priv WHERE JSON_VALUE(Priv, '$.is_role') = 1 AND CAST(JSON_VALUE(Priv, '$.access') AS UNSIGNED) & (1 << 1 | 1 << 2 | 1 << 3));
-- now and then: roles
SELECT CONCAT('\'', User, '\'@\'', Host, '\'') AS grantee, CONCAT('\'', Role, '\'@\'\'') AS role FROM mysql.roles_mapping;
-- now and then: boot settings
SELECT LOWER(VARIABLE_NAME) AS name, GLOBAL_VALUE_ORIGIN AS origin, GLOBAL_VALUE AS value FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME = 'READ_ONLY';
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
-- write: space
CREATE TABLE IF NOT EXISTS `switchyard`.space (filler LONGBLOB) ENGINE = InnoDB;
-- write: space
TRUNCATE TABLE `switchyard`.space;
-- write: space
INSERT INTO `switchyard`.space VALUES (REPEAT('x', 500000));
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
-- stop applier
STOP SLAVE SQL_THREAD;
-- undelay, receiving
CHANGE MASTER TO MASTER_DELAY = 0, MASTER_USE_GTID = no, RELAY_LOG_FILE = 'relay.000002', RELAY_LOG_POS = 432;
-- undelay, stopped
CHANGE MASTER TO MASTER_DELAY = 0, MASTER_USE_GTID = no, RELAY_LOG_FILE = 'relay.000002', RELAY_LOG_POS = 432;
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
