package adminapi

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"switchyard/controller/adminapi/wire"
)

// AuthMode is how callers say who they are.
type AuthMode string

// The modes.
const (
	// AuthNone asks nobody: who reaches the door may do all.
	AuthNone AuthMode = "none"
	// AuthBasic wants a name and a password, as browsers ask for them.
	AuthBasic AuthMode = "basic"
	// AuthToken wants a bearer token.
	AuthToken AuthMode = "token"
	// AuthProxy believes a header of named addresses only.
	AuthProxy AuthMode = "proxy"
)

// Auth is who may do what. The zero value asks nobody. Internal calls have
// signatures of their own and are not concerned.
type Auth struct {
	Mode  AuthMode
	Users []User
	// Proxies are where Header is believed, and Role is for those in it who are
	// none of Users; without one they are refused. In the other modes, X-Forwarded-For
	// of these proxies says who fails to log in.
	Proxies []netip.Prefix
	Header  string
	Role    wire.UserRole
	// Open is what is answered to anybody: of OpenHealth, OpenLeaderCheck and
	// OpenMetrics.
	Open []string
}

// What may be open to anybody.
const (
	OpenHealth      = "health"
	OpenLeaderCheck = "leader-check"
	OpenMetrics     = "metrics"
)

// User is one of those who may call.
type User struct {
	Name string
	Role wire.UserRole
	// Secret is the password or the token; none behind a proxy.
	Secret string
}

func (a Auth) on() bool { return a.Mode != "" && a.Mode != AuthNone }

// open reports whether a route is answered to anybody.
func (a Auth) open(path string) bool {
	kind := ""
	switch path {
	case wire.PathMetrics:
		kind = OpenMetrics
	case wire.PathHealth, wire.PathLeads, wire.PathLive, wire.PathReady:
		kind = OpenHealth
	case wire.PathLeaderCheck, wire.PathLeaderCheck + "/", wire.PathRoutedCheck:
		kind = OpenLeaderCheck
	}
	return kind != "" && slices.Contains(a.Open, kind)
}

// needs is the least role for a route. What no line here knows is for an
// admin, if it changes anything.
func needs(t route) wire.UserRole {
	switch {
	case t.role != "":
		return t.role
	case t.method == "GET":
		return wire.Viewer
	case slices.Contains([]string{
		wire.PathSwitchover, wire.PathBeginDowntime, wire.PathEndDowntime, wire.PathPause, wire.PathResume, wire.PathAck,
		wire.PathRecover, wire.PathFailover, wire.PathMove, wire.PathDetach, wire.PathReattach, wire.PathSetReadOnly,
		wire.PathTransferLeader, wire.PathDatacenterDown, wire.PathDatacenterUp,
	}, t.path):
		return wire.Operator
	default:
		return wire.Admin
	}
}

// caller is whom the door has found somebody to be; the zero value where it asks
// nobody.
type caller struct {
	user string
	role wire.UserRole
}

// admit finds out who calls, and whether that one may.
func (s *Server) admit(r *request, match route) error {
	auth := s.config.Auth
	if !auth.on() || auth.open(match.path) || match.path == wire.PathLeaderCheck && s.signed(r) {
		return nil
	}
	who, err := s.identify(r)
	if err != nil && err.Code == wire.TooManyLogins {
		return err
	}
	if err != nil {
		s.challenge(r)
		s.log.Warn("a call was refused: "+err.Message, slog.String("path", clip(r.path)), slog.String("from", r.RemoteAddr().String()))
		return err
	}
	r.who = who
	if err := s.allow(r, needs(match)); err != nil {
		return err
	}
	// A browser that knows the password sends it along with another site's form,
	// which cannot have this type.
	if r.IsPost() && auth.Mode != AuthToken {
		if kind, _, _ := bytes.Cut(r.Request.Header.ContentType(), []byte(";")); string(kind) != "application/json" {
			return wire.NewError(wire.BadRequest, fmt.Sprintf("the Content-Type is %s", clip(string(kind))), "send application/json")
		}
	}
	return nil
}

// allow refuses a caller whose role is less than what is needed.
func (s *Server) allow(r *request, role wire.UserRole) error {
	if !s.config.Auth.on() || r.who.role.Covers(role) {
		return nil
	}
	s.log.Warn("a call was refused: its user may not do this", slog.String("path", clip(r.path)), slog.String("user", r.who.user),
		slog.String("role", string(r.who.role)), slog.String("from", r.RemoteAddr().String()))
	return wire.NewError(wire.Forbidden, fmt.Sprintf("%s has the role %s, and this needs %s", r.who.user, r.who.role, role),
		"ask somebody who has it, or give the role in http.users of the controllers' configuration")
}

// forced reports whether a request goes on in spite of doubts.
func forced(wanted any) bool {
	force := reflect.ValueOf(wanted).FieldByName("Force")
	return force.IsValid() && force.Bool()
}

// attribute puts the caller's true name into a request that has a field By.
func (s *Server) attribute(r *request, wanted any) {
	if !s.config.Auth.on() {
		return
	}
	if by := reflect.ValueOf(wanted).Elem().FieldByName("By"); by.IsValid() {
		by.SetString(r.who.user)
	}
}

func (s *Server) challenge(r *request) {
	switch s.config.Auth.Mode {
	case AuthBasic:
		r.Response.Header.Set("WWW-Authenticate", `Basic realm="switchyard", charset="UTF-8"`)
	case AuthToken:
		r.Response.Header.Set("WWW-Authenticate", `Bearer realm="switchyard"`)
	}
}

func (s *Server) identify(r *request) (caller, *wire.Error) {
	if len(r.Request.Header.Peek(wire.HeaderUser)) > 0 {
		return s.forwardedFor(r)
	}
	if from := r.Request.Header.Peek(wire.HeaderForwarded); len(from) > 0 && len(r.Request.Header.Peek("Authorization")) == 0 {
		return caller{}, wire.NewError(wire.Unauthorized, fmt.Sprintf("controller %s forwards a call and does not say whose", clip(string(from))),
			"give all controllers the same http.auth, or call the leader itself")
	}
	switch s.config.Auth.Mode {
	case AuthBasic:
		return s.login(r, s.basic)
	case AuthToken:
		return s.login(r, s.token)
	default:
		return s.proxied(r)
	}
}

// credentials returns what stands in the one Authorization header after scheme.
func credentials(r *request, scheme string) (string, bool) {
	all := r.Request.Header.PeekAll("Authorization")
	if len(all) != 1 {
		return "", false
	}
	got, rest, ok := strings.Cut(string(all[0]), " ")
	return strings.TrimSpace(rest), ok && strings.EqualFold(got, scheme)
}

func (s *Server) basic(r *request) (caller, *wire.Error) {
	text, ok := credentials(r, "Basic")
	if !ok {
		return caller{}, wire.NewError(wire.Unauthorized, "this controller wants a name and a password (HTTP basic authentication)",
			"set SWITCHYARD_USER and SWITCHYARD_PASSWORD, or give --user and --password-file")
	}
	plain, err := base64.StdEncoding.DecodeString(text)
	name, password, ok := strings.Cut(string(plain), ":")
	if err == nil && ok {
		if who, ok := s.config.Auth.find(func(u User) string { return u.Name + ":" + u.Secret }, name+":"+password); ok {
			return who, nil
		}
	}
	return caller{}, wire.NewError(wire.Unauthorized, "the name or the password is wrong",
		"correct it, or add the user to http.users of the controllers' configuration")
}

func (s *Server) token(r *request) (caller, *wire.Error) {
	text, ok := credentials(r, "Bearer")
	if !ok {
		return caller{}, wire.NewError(wire.Unauthorized, "this controller wants a token (Authorization: Bearer ...)",
			"set SWITCHYARD_TOKEN, or give --token-file")
	}
	if who, ok := s.config.Auth.find(func(u User) string { return u.Secret }, text); ok {
		return who, nil
	}
	return caller{}, wire.NewError(wire.Unauthorized, "the token is nobody's",
		"correct it, or add it to http.users of the controllers' configuration")
}

// find compares with all users, each in the same time: how long it takes says
// neither whether there is such a user nor how much of a secret was right.
func (a Auth) find(secret func(User) string, presented string) (caller, bool) {
	var found caller
	ok := false
	want := sha256.Sum256([]byte(presented))
	for _, u := range a.Users {
		got := sha256.Sum256([]byte(secret(u)))
		if u.Secret != "" && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
			found, ok = caller{u.Name, u.Role}, true
		}
	}
	return found, ok
}

// proxied believes the header of those only whose address is named.
func (s *Server) proxied(r *request) (caller, *wire.Error) {
	auth := s.config.Auth
	address, _ := netip.AddrFromSlice(r.RemoteIP())
	address = address.Unmap()
	if !auth.believes(address) {
		return caller{}, wire.NewError(wire.Unauthorized, fmt.Sprintf("this call comes from %s, which is no proxy that is believed", address),
			"call through the proxy, or name the address in http.proxy.from of the controllers' configuration")
	}
	names := r.Request.Header.PeekAll(auth.Header)
	if len(names) != 1 || !plainName(string(names[0])) {
		return caller{}, wire.NewError(wire.Unauthorized, fmt.Sprintf("the proxy at %s does not name one user in %s", address, auth.Header),
			"let it set the header, once, to whom it has authenticated, and remove what its clients send of that name")
	}
	name := string(names[0])
	for _, u := range auth.Users {
		if u.Name == name {
			return caller{u.Name, u.Role}, nil
		}
	}
	if auth.Role == "" {
		return caller{}, wire.NewError(wire.Unauthorized, fmt.Sprintf("the user %s is not known here", clip(name)),
			"add the name to http.users of the controllers' configuration, or give http.proxy.role for all others")
	}
	return caller{name, auth.Role}, nil
}

// plainName is what can stand in the audit as a name.
func plainName(name string) bool {
	return name != "" && len(name) <= wire.MaxName && !strings.ContainsFunc(name, func(c rune) bool {
		return c == unicode.ReplacementChar || unicode.IsSpace(c) || !unicode.IsPrint(c) || c == ','
	})
}

// signed reports whether a controller makes this call.
func (s *Server) signed(r *request) bool {
	nonce := string(r.Request.Header.Peek(wire.HeaderNonce))
	want := wire.SignRequest(s.config.Secret, string(r.Method()), r.path, nonce, r.PostBody())
	return nonce != "" && wire.VerifySignature(s.config.Secret, string(r.Request.Header.Peek(wire.HeaderSignature)), want)
}

// forwardWindow is how far the clocks of two controllers may be apart, and how
// old a forwarded call may be.
const forwardWindow = 2 * time.Minute

// forwardHeader says, signed, whose call is forwarded.
func (s *Server) forwardHeader(r *request, method, path string, body []byte) map[string]string {
	header := map[string]string{wire.HeaderForwarded: s.config.SelfID}
	if !s.config.Auth.on() || r.who.user == "" {
		return header
	}
	f := wire.Forwarding{From: s.config.SelfID, User: r.who.user, Role: r.who.role, Sent: strconv.FormatInt(time.Now().Unix(), 10)}
	nonce := rand.Text()
	header[wire.HeaderUser], header[wire.HeaderRole], header[wire.HeaderSent] = f.User, string(f.Role), f.Sent
	header[wire.HeaderNonce] = nonce
	header[wire.HeaderSignature] = wire.SignForward(s.config.Secret, method, path, nonce, body, f)
	return header
}

// forwardedFor takes another controller's word for who calls, once.
func (s *Server) forwardedFor(r *request) (caller, *wire.Error) {
	header := func(name string) string { return string(r.Request.Header.Peek(name)) }
	f := wire.Forwarding{
		From: header(wire.HeaderForwarded), User: header(wire.HeaderUser), Role: wire.UserRole(header(wire.HeaderRole)),
		Sent: header(wire.HeaderSent),
	}
	nonce := header(wire.HeaderNonce)
	method := string(r.Method())
	want := wire.SignForward(s.config.Secret, method, r.path, nonce, r.PostBody(), f)
	if nonce == "" || !wire.VerifySignature(s.config.Secret, header(wire.HeaderSignature), want) {
		return caller{}, wire.NewError(wire.Unauthorized, "this forwarded call is not signed with the controllers' shared secret",
			"give all controllers the same secret")
	}
	seconds, err := strconv.ParseInt(f.Sent, 10, 64)
	now, sent := time.Now(), time.Unix(seconds, 0)
	if err != nil || now.Sub(sent).Abs() > forwardWindow {
		return caller{}, wire.NewError(wire.Unauthorized, fmt.Sprintf("by the clock of controller %s this call was forwarded at %s, and it is %s here",
			clip(f.From), sent.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)), "set the controllers' clocks, or call the leader itself")
	}
	if !s.heard.first(nonce, now) {
		return caller{}, wire.NewError(wire.Unauthorized, "this forwarded call was heard before", "ask again")
	}
	return caller{f.User, f.Role}, nil
}

// nonces remembers those of forwarded calls for as long as one would be taken.
// Holders of the secret alone can add to it.
type nonces struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func (n *nonces) first(nonce string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for old, at := range n.seen {
		if now.Sub(at).Abs() > 2*forwardWindow {
			delete(n.seen, old)
		}
	}
	if _, again := n.seen[nonce]; again {
		return false
	}
	if n.seen == nil {
		n.seen = map[string]time.Time{}
	}
	n.seen[nonce] = now
	return true
}
