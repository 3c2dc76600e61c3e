package traffic

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"

	"switchyard/e2e/standin/hostgroup"
)

// errGone ends a session without an answer: the client sees its connection closed.
var errGone = errors.New("the session has ended")

// session is one client. Its methods run in the client's own goroutine, one at a time; only what mu guards is read by
// others.
type session struct {
	proxy  *Proxy
	socket *net.TCPConn
	client *server.Conn
	id     uint32
	user   User
	dead   chan struct{}
	once   sync.Once

	// What the client asked for; a server's connection is brought to it before a statement.
	schema, names string
	autocommit    bool

	// The connection that is kept between statements, and why.
	kept     *hostgroup.Conn
	working  bool // in a transaction
	sticks   bool // session state, until the end
	delay    int  // so many statements more, after a generated AUTO_INCREMENT value
	delayEnd time.Time
	watching *watch

	mu        sync.Mutex
	shown     *hostgroup.Conn
	showDB    string
	statement string
	since     time.Time
}

func newSession(p *Proxy, socket *net.TCPConn) *session {
	return &session{proxy: p, socket: socket, dead: make(chan struct{}), autocommit: true, since: time.Now()}
}

// start is called when the client has signed in.
func (s *session) start(client *server.Conn) error {
	user, ok := s.proxy.user(client.GetUser())
	if !ok {
		return fmt.Errorf("user %q is gone", client.GetUser())
	}
	s.client, s.id, s.user = client, client.ConnectionID(), user
	if s.schema == "" {
		s.schema = user.Schema
	}
	s.mu.Lock()
	s.showDB = s.schema
	s.mu.Unlock()
	client.SetStatus(mysql.SERVER_STATUS_AUTOCOMMIT)
	return nil
}

// end closes the client's connection. Anybody may call it.
func (s *session) end() {
	s.once.Do(func() {
		close(s.dead)
		_ = s.socket.Close() // it may be closed by the client already
	})
}

// finish drops what the session still holds on a server.
func (s *session) finish() {
	s.end()
	s.stopWatch()
	if s.kept != nil {
		s.show(nil, "")
		s.kept.Drop()
		s.kept = nil
	}
}

func (s *session) show(c *hostgroup.Conn, statement string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown, s.statement, s.since, s.showDB = c, statement, time.Now(), s.schema
}

func (s *session) process() Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Process{Session: s.id, User: s.user.Name, Schema: s.showDB, Client: s.socket.RemoteAddr(),
		Hostgroup: s.user.Hostgroup, Command: "Sleep", Statement: s.statement, Since: time.Since(s.since)}
	if s.statement != "" {
		p.Command = "Query"
	}
	if s.shown != nil {
		p.Server, p.Local = s.shown.Server().Key(), s.shown.LocalAddr()
	}
	return p
}

// UseDB is COM_INIT_DB, and the schema of the sign-in. Nobody is asked whether it exists.
func (s *session) UseDB(schema string) error {
	s.schema = schema
	return nil
}

// HandleQuery is COM_QUERY.
func (s *session) HandleQuery(query string) (*mysql.Result, error) {
	s.stopWatch()
	query = string([]byte(query)) // the library's buffer is used again
	result, err := s.answer(query)
	if errors.Is(err, errGone) {
		s.end()
		return nil, err
	}
	s.settle()
	s.show(s.kept, "")
	s.startWatch()
	var refused *mysql.MyError
	if errors.As(err, &refused) {
		return nil, refused
	}
	return result, err
}

// answer does what a statement asks for, here or on a server.
func (s *session) answer(query string) (*mysql.Result, error) {
	st := read(query)
	switch st.kind {
	case endOfWork:
		if !s.working {
			return s.ok(), nil
		}
	case setNames:
		s.names = st.value
		return s.ok(), nil
	case use:
		s.schema = st.value
		return s.ok(), nil
	case autocommit:
		s.autocommit = st.value == "1"
		if !s.working || !s.autocommit {
			return s.ok(), nil
		}
	case connectionID:
		set, err := mysql.BuildSimpleTextResultset([]string{"CONNECTION_ID()"}, [][]any{{s.id}})
		if err != nil {
			return nil, err
		}
		return mysql.NewResult(set), nil
	case kill:
		id, err := strconv.ParseUint(st.value, 10, 32)
		if err != nil || !s.proxy.Kill(uint32(id)) {
			return nil, mysql.NewError(mysql.ER_NO_SUCH_THREAD, "Unknown thread id: "+st.value)
		}
		return s.ok(), nil
	}
	s.show(s.kept, query)
	result, err := s.forward(query)
	if err == nil {
		s.sticks = s.sticks || st.sticks
	}
	return result, err
}

func (s *session) ok() *mysql.Result {
	s.setStatus()
	return mysql.NewResultReserveResultset(0)
}

// setStatus has the client told what is true of its session.
func (s *session) setStatus() {
	for flag, on := range map[uint16]bool{mysql.SERVER_STATUS_AUTOCOMMIT: s.autocommit, mysql.SERVER_STATUS_IN_TRANS: s.working} {
		if on {
			s.client.SetStatus(flag)
		} else {
			s.client.UnsetStatus(flag)
		}
	}
}

// settle gives the connection back when nothing keeps it.
func (s *session) settle() {
	if s.kept == nil || s.working || s.sticks || s.delay > 0 {
		return
	}
	s.show(nil, "")
	s.kept.Release()
	s.kept = nil
}

// watch is the wait for what a server says unasked between two statements.
type watch struct {
	conn *hostgroup.Conn
	done chan struct{}

	mu   sync.Mutex
	over bool
}

// startWatch ends the session when the server ends a connection that is kept between statements, and gives the
// connection back when the time of the delay is over and nothing else keeps it. While it runs, the session is its.
func (s *session) startWatch() {
	if s.kept == nil {
		return
	}
	w := &watch{conn: s.kept, done: make(chan struct{})}
	delayOnly := !s.working && !s.sticks
	if delayOnly {
		w.conn.StopWatch(s.delayEnd)
	}
	s.watching = w
	go func() {
		defer close(w.done)
		ended := w.conn.Watch()
		w.mu.Lock()
		w.over = true
		w.conn.Resume()
		w.mu.Unlock()
		switch {
		case ended:
			s.end()
		case delayOnly && !time.Now().Before(s.delayEnd):
			s.delay = 0
			s.settle()
		}
	}()
}

// stopWatch takes the session back.
func (s *session) stopWatch() {
	w := s.watching
	if w == nil {
		return
	}
	w.mu.Lock()
	if !w.over {
		w.conn.StopWatch(time.Unix(1, 0))
	}
	w.mu.Unlock()
	<-w.done
	s.watching = nil
}

// What follows is not part of what was measured of the original, and refused.

// HandleFieldList refuses COM_FIELD_LIST.
func (s *session) HandleFieldList(string, string) ([]*mysql.Field, error) {
	return nil, unsupported("COM_FIELD_LIST")
}

// HandleStmtPrepare refuses COM_STMT_PREPARE.
func (s *session) HandleStmtPrepare(string) (int, int, any, error) {
	return 0, 0, nil, unsupported("a prepared statement (have the client interpolate)")
}

// HandleStmtExecute is never reached.
func (s *session) HandleStmtExecute(any, string, []any) (*mysql.Result, error) {
	return nil, unsupported("a prepared statement")
}

// HandleStmtClose is never reached.
func (s *session) HandleStmtClose(any) error { return nil }

// HandleOtherCommand refuses all other commands.
func (s *session) HandleOtherCommand(command byte, _ []byte) error {
	return unsupported(fmt.Sprintf("protocol command %d", command))
}

func unsupported(what string) error {
	return mysql.NewError(mysql.ER_NOT_SUPPORTED_YET, "the ProxySQL stand-in does not support "+what)
}
