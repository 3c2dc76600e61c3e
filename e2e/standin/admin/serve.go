package admin

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"
)

// User and Password sign an administrator in.
const (
	User     = "admin"
	Password = "admin"
)

// Serve answers administrators until ctx ends, then ends their connections and waits for them.
func (a *Admin) Serve(ctx context.Context, listener net.Listener) error {
	protocol := server.NewServer("8.0.30", mysql.DEFAULT_COLLATION_ID, mysql.AUTH_NATIVE_PASSWORD, nil, nil)
	var group sync.WaitGroup
	defer group.Wait()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })() // it is closed already when Accept failed
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				return conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			a.log.Error("accept", "error", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors: others have to end first
			continue
		}
		group.Go(func() {
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			defer func() { _ = conn.Close() }() // it is closed already when the client left
			signIn := time.AfterFunc(signInTimeout, func() { _ = conn.Close() })
			client, err := protocol.NewConn(conn, User, Password, &handler{ctx: ctx, admin: a})
			signIn.Stop()
			if err != nil {
				a.log.Info("administrator not signed in", "client", conn.RemoteAddr(), "error", err.Error())
				return
			}
			client.SetStatus(mysql.SERVER_STATUS_AUTOCOMMIT)
			for client.HandleCommand() == nil && !client.Closed() {
			}
		})
	}
}

const signInTimeout = 10 * time.Second

// handler is one administrator's connection.
type handler struct {
	ctx   context.Context //nolint:containedctx // the protocol library's calls carry none
	admin *Admin
}

// UseDB is COM_INIT_DB. All layers can be named from everywhere.
func (h *handler) UseDB(string) error { return nil }

// HandleQuery is COM_QUERY.
func (h *handler) HandleQuery(query string) (*mysql.Result, error) {
	return h.admin.Execute(h.ctx, string([]byte(query))) // the library's buffer is used again
}

// HandleFieldList refuses COM_FIELD_LIST.
func (h *handler) HandleFieldList(string, string) ([]*mysql.Field, error) { return nil, unsupported() }

// HandleStmtPrepare refuses COM_STMT_PREPARE, as the original's admin interface does.
func (h *handler) HandleStmtPrepare(string) (int, int, any, error) { return 0, 0, nil, unsupported() }

// HandleStmtExecute is never reached.
func (h *handler) HandleStmtExecute(any, string, []any) (*mysql.Result, error) {
	return nil, unsupported()
}

// HandleStmtClose is never reached.
func (h *handler) HandleStmtClose(any) error { return nil }

// HandleOtherCommand refuses all other commands.
func (h *handler) HandleOtherCommand(byte, []byte) error { return unsupported() }

func unsupported() error {
	return &mysql.MyError{Code: 1045, State: "28000", Message: "Command not supported"}
}
