package traffic

import "testing"

func TestRead(t *testing.T) {
	for query, want := range map[string]statement{
		"commit":                                       {kind: endOfWork},
		" /* app */ ROLLBACK WORK ; ":                  {kind: endOfWork},
		"-- note\nCOMMIT":                              {kind: endOfWork},
		"ROLLBACK TO SAVEPOINT s":                      {},
		"SET NAMES utf8mb4 COLLATE utf8mb4_bin":        {kind: setNames, value: "utf8mb4 COLLATE utf8mb4_bin"},
		"set autocommit=0":                             {kind: autocommit, value: "0"},
		"SET SESSION autocommit = ON":                  {kind: autocommit, value: "1"},
		"SET @@session.autocommit = 1":                 {kind: autocommit, value: "1"},
		"USE `app`":                                    {kind: use, value: "app"},
		"select connection_id()":                       {kind: connectionID},
		"SELECT CONNECTION_ID() + 1":                   {},
		"KILL 17":                                      {kind: kill, value: "17"},
		"SET @v := 41":                                 {sticks: true},
		"SET sql_mode = ''":                            {sticks: true},
		"SELECT @v":                                    {sticks: true},
		"SELECT @@version":                             {},
		"SELECT @@session.tx_isolation, @@version":     {},
		"SELECT @@server_id":                           {sticks: true},
		"INSERT INTO t VALUES ('someone@example.org')": {},
		"CREATE TEMPORARY TABLE x (id INT)":            {sticks: true},
		"CREATE TABLE x (id INT)":                      {},
		"LOCK TABLES x WRITE":                          {sticks: true},
		"SELECT GET_LOCK('a', 1)":                      {sticks: true},
		"BEGIN":                                        {},
		"SELECT 1":                                     {},
	} {
		if got := read(query); got != want {
			t.Errorf("%q is read as %+v, want %+v", query, got, want)
		}
	}
}
