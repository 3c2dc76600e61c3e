// Switchyard keeps a MySQL or MariaDB replication topology writable, and keeps
// every application pointed at its master.
package main

import (
	"os"

	"switchyard/controller/cli"
	"switchyard/e2e/demo"
)

func main() { os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr, demo.Command())) }
