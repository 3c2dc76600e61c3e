// Package dialect is the one table of what the supported servers understand:
// MariaDB and Oracle MySQL with its relatives, old statements and new. A
// dialect is chosen once per connection from what the server says of itself.
//
// What the user of probes and verbs has to be granted, on *.* unless said
// otherwise; a probe alone does without what stands in brackets:
//
//   - MariaDB 10.5 and later: PROCESS, BINLOG MONITOR, REPLICA MONITOR,
//     REPLICATION MASTER ADMIN, [RELOAD, REPLICATION SLAVE ADMIN,
//     CONNECTION ADMIN, READ_ONLY ADMIN].
//   - MariaDB before that, MySQL 5.6 and 5.7: PROCESS, REPLICATION CLIENT,
//     REPLICATION SLAVE, [SUPER, RELOAD]; on 5.7 SELECT on performance_schema.*.
//   - MySQL 8.0 and later: PROCESS, REPLICATION CLIENT, REPLICATION SLAVE,
//     SELECT on performance_schema.*, [RELOAD, REPLICATION_SLAVE_ADMIN,
//     CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN].
//
// What changes rarely (accounts, roles, boot settings) takes SELECT on mysql.*.
// The write probe needs CREATE, CREATE TEMPORARY TABLES, DROP, SELECT, INSERT and
// UPDATE on its schema, and what lets it set sql_log_bin: BINLOG ADMIN on MariaDB,
// SYSTEM_VARIABLES_ADMIN on MySQL.
//
// To end the connections of users that have SYSTEM_USER on MySQL takes
// SYSTEM_USER.
package dialect
