package proxysql

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"switchyard/router/proxysql"
	"switchyard/router/routes"
)

// TestWhatIsNotAnsweredIsTakenBack: a statement that did not get through in time
// must not be carried out later. A connection that is reset keeps nothing to send.
func TestWhatIsNotAnsweredIsTakenBack(t *testing.T) {
	for _, answered := range []bool{false, true} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			conn, err := listener.Accept()
			if err == nil {
				if answered {
					_, err = io.ReadFull(conn, make([]byte, 5))
					if err == nil {
						_, err = conn.Write([]byte("ok"))
					}
				}
				if err == nil {
					_, err = io.Copy(io.Discard, conn)
				}
				_ = conn.Close()
			}
			ended <- err
		}()
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		w := &wire{Conn: conn}
		if _, err := w.Write([]byte("LOAD\n")); err != nil {
			t.Fatal(err)
		}
		if answered {
			if _, err := w.Read(make([]byte, 2)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; errors.Is(err, syscall.ECONNRESET) == answered {
			t.Errorf("answered %t: the connection ended with %v", answered, err)
		}
		_ = listener.Close()
	}
}

// TestSavedMayBeNewerThanWhatWasRead: a master may have got onto the disk of a
// ProxySQL that died before it answered, or by another controller meanwhile. Then
// it does not come back withdrawn.
func TestSavedMayBeNewerThanWhatWasRead(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	epoch := routes.Epoch{Generation: 1, Number: 5}
	withdrawn := routes.Table{Cluster: "shop", Epoch: epoch, Revision: 1}
	announced := routes.Table{Cluster: "shop", Epoch: epoch, Revision: 2, Writer: &routes.Server{Host: "10.0.0.2", Port: 3306}}
	next := routes.Table{Cluster: "shop", Epoch: epoch.Next(), Revision: 1}
	for name, test := range map[string]struct {
		told  *routes.Table
		table routes.Table
		down  bool
	}{
		"read in this epoch":             {nil, withdrawn, true},
		"read before another one led":    {nil, next, false},
		"told of a master, no answer":    {&announced, routes.Table{Cluster: "shop", Epoch: epoch, Revision: 3}, false},
		"told of a master, and wanted":   {&announced, announced, true},
		"told of nobody, and no answer":  {&withdrawn, withdrawn, true},
		"told of a master, a new epoch":  {&announced, next, false},
		"nobody was told, and announced": {nil, announced, true},
	} {
		p, err := New(Config{Name: "ps1", Cluster: "shop", Admin: "127.0.0.1:1", User: "radmin",
			Slot: proxysql.Slot{Hostgroup: 10, Reader: proxysql.NoReader, Weight: 1, MaxConnections: 500}}, time.Now, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p.saved = saved{known: true, epoch: epoch}
		if test.told != nil {
			p.mayHaveSaved(*test.told)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := p.refused(ctx, test.table, refused); errors.Is(err, routes.ErrNotRunning) != test.down {
			t.Errorf("%s: %v, want it proven down: %t", name, err, test.down)
		}
		cancel()
	}
}
