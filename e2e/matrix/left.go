package matrix

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchyard/e2e/site"
	"switchyard/e2e/stack"
	"switchyard/router/haproxy"
)

// Rows reads the application's table as one server has it.
func Rows(ctx context.Context, server *stack.Server) (list []Execution, err error) {
	rows, err := server.Root().QueryContext(ctx, "SELECT client, seq, server, at_us FROM `"+stack.AppSchema+"`.tokens")
	if err != nil {
		return nil, fmt.Errorf("read the application's table on %s: %w", server.Key(), err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		x, at := Execution{On: server.ServerID()}, int64(0)
		if err := rows.Scan(&x.Client, &x.Seq, &x.By, &at); err != nil {
			return nil, fmt.Errorf("read the application's table on %s: %w", server.Key(), err)
		}
		x.At = time.UnixMicro(at)
		list = append(list, x)
	}
	return list, rows.Err()
}

// Sessions lists the application's sessions in a server's own list, by what they run; empty for an idle one.
func Sessions(ctx context.Context, server *stack.Server) (running []string, err error) {
	rows, err := server.Root().QueryContext(ctx, "SHOW PROCESSLIST")
	if err != nil {
		return nil, fmt.Errorf("list the sessions of %s: %w", server.Key(), err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	cells, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range cells {
		targets[i] = &cells[i]
	}
	user, info := slices.Index(columns, "User"), slices.Index(columns, "Info")
	if user < 0 || info < 0 {
		return nil, fmt.Errorf("list the sessions of %s: the columns are %v", server.Key(), columns)
	}
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		if cells[user].String == stack.AppAccount().User {
			running = append(running, cells[info].String)
		}
	}
	return running, rows.Err()
}

// Paths counts, for every witness there is, what the managed paths have to a server: the sockets of each proxy's processes, by
// the kernel's account, and the sessions of each proxy, by its own.
func Paths(ctx context.Context, s *site.Site, server *stack.Server) (map[string]int, error) {
	counts := map[string]int{}
	var problems []error
	see := func(witness string, count int, err error) {
		counts[witness], problems = count, append(problems, err)
	}
	for _, p := range s.Proxies {
		count, err := Sockets(p.Pid(), server.Key())
		see(p.Name+"'s sockets", count, err)
		text, err := Runtime(ctx, p, "show sess all")
		see(p.Name+"'s sessions", strings.Count(text, "addr="+server.Key()+"\n"), err)
	}
	for _, p := range s.ProxySQLs {
		count, err := Sockets(p.Pid(), server.Key())
		see(p.Name+"'s sockets", count, err)
		rows, err := p.AdminRows(ctx, fmt.Sprintf("SELECT ConnUsed FROM stats_mysql_connection_pool WHERE srv_host = '%s' AND ConnUsed <> '0'",
			server.Host()))
		see(p.Name+"'s pool", len(rows), err)
	}
	return counts, errors.Join(problems...)
}

// Runtime asks an HAProxy one thing over its runtime API.
func Runtime(ctx context.Context, p *site.Proxy, command string) (string, error) {
	return ask(ctx, p.Name, p.Runtime, command)
}

func ask(ctx context.Context, name, address, command string) (text string, err error) {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return "", fmt.Errorf("%s: %s: %w", name, command, err)
	}
	// A master process answers, and hangs up, once it has read all there is.
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return "", fmt.Errorf("%s: %s: %w", name, command, err)
		}
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// OldWorkers lists the processes that an HAProxy's reloads have left behind, by its own account.
func OldWorkers(ctx context.Context, p *site.Proxy) ([]int, error) {
	text, err := ask(ctx, p.Name, p.Master, "show proc")
	if err != nil {
		return nil, err
	}
	return haproxy.ParseOldWorkers(text)
}

// Sockets counts the TCP sockets to an address that a process and its children hold, whatever their state.
func Sockets(pid int, address string) (int, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return 0, err
	}
	held := map[string]bool{}
	family, err := processes(pid)
	if err != nil {
		return 0, err
	}
	for _, member := range family {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", member))
		if err != nil {
			return 0, err
		}
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil {
				held[target] = true
			} else if !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
		}
	}
	table, err := os.Open(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return 0, err
	}
	defer func() { _ = table.Close() }() // it was only read
	count := 0
	want := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(to.Addr().AsSlice()), to.Port())
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		const remote, inode = 2, 9
		if fields := strings.Fields(lines.Text()); len(fields) > inode && fields[remote] == want && held["socket:["+fields[inode]+"]"] {
			count++
		}
	}
	return count, lines.Err()
}

// processes lists a process and all that descend from it.
func processes(pid int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// After the name, which is in parentheses and may hold any character: the state, and the parent.
		rest := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
		own, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil || len(rest) < 2 {
			continue
		}
		parent, err := strconv.Atoi(rest[1])
		if err != nil {
			continue
		}
		children[parent] = append(children[parent], own)
	}
	family := []int{pid}
	for i := 0; i < len(family); i++ {
		family = append(family, children[family[i]]...)
	}
	return family, nil
}
