//go:build servers

package scenarios_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/certs"
	"switchyard/e2e/site"
	"switchyard/e2e/trial"
	"switchyard/store/ledger"
)

const viewing, deciding = "a-token-to-look-by", "a-token-to-decide-by"

// secured is a site whose controllers speak TLS and ask who calls.
type secured struct {
	t           *testing.T
	ctx         context.Context //nolint:containedctx // it is the test's
	Site        *site.Site
	ca, foreign *certs.CA
	dir         string
}

// TestOverTLS: controllers that speak TLS with each other and with everybody fail a crashed master over; whoever has
// another CA, no token, the wrong role or another secret is refused, and told why; certificates are renewed without a
// restart.
func TestOverTLS(t *testing.T) {
	w := newSecured(t)
	w.commands()
	w.strangers()
	w.balanced()
	w.renewed()
	tr, err := trial.Begin(w.ctx, w.Site)
	w.must(err)
	app := &world{Trial: tr, t: t, ctx: w.ctx}
	w.must(tr.Before(w.ctx))
	w.must(w.Site.DB.Master.Kill())
	_, winner := app.recovered(ledger.Completed)
	app.end(false, winner)
}

func newSecured(t *testing.T) *secured {
	ca := certs.New(t, "ours")
	o := site.Options{Secure: &site.Secure{
		CA: ca.File, Token: deciding,
		Users:   fmt.Sprintf("[{name: vi, role: viewer, token: %s}, {name: ada, role: admin, token: %s}]", viewing, deciding),
		Certify: func(id, host string) (cert, key string) { p := ca.Issue(t, id, []string{host}); return p.Cert, p.Key },
	}}
	ctx, s := startSiteFor(t, 8*time.Minute, o)
	return &secured{t: t, ctx: ctx, Site: s, ca: ca, foreign: certs.New(t, "somebody else's"), dir: t.TempDir()}
}

func (w *secured) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// run runs a command of the program; env says whom it believes, and who it is.
func (w *secured) run(env []string, args ...string) (said string, code int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.Site.Binary(), args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SWITCHYARD_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (w *secured) api() string {
	var urls []string
	for _, c := range w.Site.Controllers {
		urls = append(urls, c.URL)
	}
	return "SWITCHYARD_API=" + strings.Join(urls, ",")
}

// commands: the command line with CA and token, and what it is told without them.
func (w *secured) commands() {
	token := filepath.Join(w.dir, "token")
	w.must(os.WriteFile(token, []byte(deciding+"\n"), 0o600))
	api, ca := w.api(), "SWITCHYARD_CA="+w.ca.File
	me, viewer := "SWITCHYARD_TOKEN_FILE="+token, "SWITCHYARD_TOKEN="+viewing
	switchover := []string{"switchover", site.ClusterName, "--to", w.Site.DB.Replicas[0].Key()}
	for name, c := range map[string]struct {
		env   []string
		args  []string
		ok    bool
		wants string
	}{
		"with all of it": {[]string{api, ca, me}, []string{"status"}, true, "leader"},
		"who only looks": {[]string{api, ca, viewer}, []string{"topology", site.ClusterName}, true, w.Site.DB.Master.Key()},
		"the wrong role": {[]string{api, ca, viewer}, switchover, false, "vi has the role viewer, and this needs operator"},
		"no token":       {[]string{api, ca}, []string{"status"}, false, "this controller wants a token"},
		"a guess":        {[]string{api, ca, "SWITCHYARD_TOKEN=not-a-token-at-all"}, []string{"status"}, false, "the token is nobody's"},
		"another CA":     {[]string{api, "SWITCHYARD_CA=" + w.foreign.File, me}, []string{"status"}, false, "unknown authority"},
		"no CA":          {[]string{api, me}, []string{"status"}, false, "unknown authority"},
		"without TLS":    {[]string{strings.ReplaceAll(api, "https", "http"), "SWITCHYARD_TOKEN=" + deciding}, []string{"status"}, false, "begins with https"},
		"plain, and said so": {
			[]string{strings.ReplaceAll(api, "https", "http"), me}, []string{"status", "--allow-plain"}, false, "begins with https",
		},
	} {
		said, code := w.run(c.env, c.args...)
		if ok := code == 0; ok != c.ok || !strings.Contains(said, c.wants) {
			w.t.Errorf("%s: exit code %d, want it to say %q: %s", name, code, c.wants, said)
		}
		if strings.Contains(said, deciding) || strings.Contains(said, viewing) {
			w.t.Errorf("%s: a token is shown: %s", name, said)
		}
	}
}

// strangers: in the place of a controller, with its id and address, nobody is let in who has another CA's certificate or
// another secret.
func (w *secured) strangers() {
	leader, err := w.Site.Leader(w.ctx)
	w.must(err)
	absent := w.Site.Controllers[0]
	if absent == leader {
		absent = w.Site.Controllers[1]
	}
	host := hostOf(w.t, absent.URL)
	w.must(absent.Stop(w.ctx))
	wrong := w.foreign.Issue(w.t, absent.ID, []string{host})
	config := absent.Config
	lines := strings.Split(config, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "raft: ") {
			lines[i] = fmt.Sprintf("raft: {tls: {ca: %q, cert: %q, key: %q}}", w.foreign.File, wrong.Cert, wrong.Key)
		}
	}
	for name, c := range map[string]struct{ config, says string }{
		"of another CA":     {strings.Join(lines, "\n"), "its certificate is not accepted"},
		"of another secret": {strings.Replace(config, "secret: loopback-only", "secret: a-guess-of-somebody", 1), "does not know the secret of these controllers"},
	} {
		p, err := w.Site.Stack.StartController(w.ctx, w.Site.Binary(), "stranger-"+strings.ReplaceAll(name, " ", "-"), c.config)
		w.must(err)
		until(w.t, w.ctx, 60*time.Second, "a stranger "+name+" is told why", func(context.Context) error {
			if !strings.Contains(p.Output(), c.says) {
				return fmt.Errorf("it says nothing of %q: %s", c.says, p.Output())
			}
			return nil
		})
		w.must(p.Stop(w.ctx))
	}
	if !strings.Contains(leader.Output(), "does not know the secret of these controllers") {
		w.t.Errorf("%s does not say whom it refused", leader.ID)
	}
	w.must(absent.Start(w.ctx))
	until(w.t, w.ctx, 30*time.Second, "the true one is back", func(ctx context.Context) error {
		status, err := w.Site.StatusOf(ctx, absent)
		if err == nil && status.Leader == "" {
			err = errors.New("it knows no leader")
		}
		return err
	})
}

// balanced: a load balancer that checks over TLS leads to the leader only.
func (w *secured) balanced() {
	ip, err := w.Site.Stack.IPFor("balancer", 7443)
	w.must(err)
	var servers strings.Builder
	for _, c := range w.Site.Controllers {
		u, err := url.Parse(c.URL)
		w.must(err)
		fmt.Fprintf(&servers, "  server %s %s check check-ssl inter 100ms rise 1 fall 1 verify required ca-file %s\n", c.ID, u.Host, w.ca.File)
	}
	listen := ip + ":7443"
	_, err = w.Site.Stack.StartHAProxy(w.ctx, "balancer", fmt.Sprintf(`defaults
  mode tcp
  timeout connect 2s
  timeout client 20s
  timeout server 20s
frontend doors
  bind %s
  default_backend leader
backend leader
  option httpchk GET /api/leader-check
%s`, listen, servers.String()))
	w.must(err)
	led := func() {
		until(w.t, w.ctx, 30*time.Second, "the load balancer leads to the leader", func(ctx context.Context) error {
			leader, err := w.Site.Leader(ctx)
			if err != nil {
				return err
			}
			serial, err := w.serial(ctx, listen)
			if err != nil {
				return err
			}
			if own, err := w.serial(ctx, hostPort(w.t, leader.URL)); err != nil || own != serial {
				return fmt.Errorf("behind it is %s, and the leader %s is %s: %w", serial, leader.ID, own, err)
			}
			return nil
		})
	}
	led()
	client, err := w.Site.Client(10 * time.Second)
	w.must(err)
	var done wire.Done
	w.must(client.Post(w.ctx, wire.PathTransferLeader, wire.TransferRequest{}, &done))
	led()
}

// serial is that of the certificate which is shown at an address, whoever signed it.
func (w *secured) serial(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return "", errors.New("no certificate is shown")
	}
	return chain[0].SerialNumber.String(), nil
}

// renewed: every controller shows its new certificate, and goes on with it, as the same process.
func (w *secured) renewed() {
	before := map[string]string{}
	pids := map[string]int{}
	for _, c := range w.Site.Controllers {
		serial, err := w.serial(w.ctx, hostPort(w.t, c.URL))
		w.must(err)
		before[c.ID], pids[c.ID] = serial, c.Pid()
		w.ca.Issue(w.t, c.ID, []string{hostOf(w.t, c.URL)}) // into the same files
	}
	for _, c := range w.Site.Controllers {
		until(w.t, w.ctx, 30*time.Second, c.ID+" shows its new certificate", func(ctx context.Context) error {
			serial, err := w.serial(ctx, hostPort(w.t, c.URL))
			if err == nil && serial == before[c.ID] {
				err = errors.New("it shows the old one")
			}
			return err
		})
		if c.Pid() != pids[c.ID] || !c.Running() {
			w.t.Errorf("%s was restarted for it", c.ID)
		}
	}
	// The next leader asks all of them, and raft speaks anew with each.
	client, err := w.Site.Client(10 * time.Second)
	w.must(err)
	var done wire.Done
	w.must(client.Post(w.ctx, wire.PathTransferLeader, wire.TransferRequest{}, &done))
	until(w.t, w.ctx, 30*time.Second, "all controllers are in touch", func(ctx context.Context) error {
		var all wire.Controllers
		if err := client.Get(ctx, wire.PathControllers, &all); err != nil {
			return err
		}
		if all.Answering != 3 || all.Leader == "" {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
}

func hostPort(t *testing.T, base string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func hostOf(t *testing.T, base string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return u.Hostname()
}
