package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// uncommented is the example with its commented keys; the database is in a test
// of its own.
func uncommented() string {
	var lines []string
	for _, line := range strings.Split(exampleProxies, "\n") {
		// A comment that is a key begins with a small letter and has a colon, or goes on with one.
		body, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "# ")
		word, _, key := strings.Cut(strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(body, " "), "- "), " "), ":")
		if ok && key && word == strings.ToLower(word) && !strings.Contains(word, " ") {
			line = strings.Replace(line, "# ", "", 1)
		}
		lines = append(lines, line)
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), "tls: {", "# tls: {")
}

func TestProxiesExample(t *testing.T) {
	plain, err := read(Example())
	if err != nil {
		t.Fatal(err)
	}
	if h := plain.HAProxy[0]; h.Runtime != "unix:///run/haproxy/admin.sock" || h.Backend != "shop_writer" || plain.Database.Given() ||
		plain.Consul.Address != "" || len(plain.Controllers) != 3 {
		t.Errorf("%+v", plain)
	}
	full, err := read(uncommented())
	if err != nil {
		t.Fatalf("%v\n%s", err, uncommented())
	}
	h, p, c := full.HAProxy[0], full.ProxySQL[0], full.Consul
	if h.Master != "unix:///run/haproxy/master.sock" || h.File != "/etc/haproxy/haproxy.cfg" || h.StateFile == "" || h.Listen == "" ||
		p.Admin != "127.0.0.1:6032" || p.WriterHostgroup != 10 || p.Password.Reveal() != "from-env" ||
		c.Address != "http://127.0.0.1:8500" || c.Token.Reveal() != "from-env" || c.Wait != 30*time.Second {
		t.Errorf("%+v", full)
	}
	// What is said to be the default is.
	h.Master, h.File, h.StateFile, h.Listen, h.Lua, h.Datacenter = "", "", "", "", "", ""
	h.Readers.Listen, h.Readers.Backend = "", ""
	if !reflect.DeepEqual(h, plain.HAProxy[0]) || full.Log != plain.Log {
		t.Errorf("the example's defaults are not the defaults:\n%+v\n%+v", h, plain.HAProxy[0])
	}
}

func TestExampleHasEveryKey(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Slice:
			walk(typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				field := typ.Field(i)
				key := field.Tag.Get("yaml")
				if !field.IsExported() || key == "sidecar" { // which is for the controllers' files
					continue
				}
				if key == "" || !strings.Contains(Example(), key+":") {
					t.Errorf("the example does not show key %q of %s", key, typ)
				}
				walk(field.Type)
			}
		}
	}
	walk(reflect.TypeFor[File]())
}

const withProxy = withDatabase + `haproxy: [{name: ha1, cluster: shop, runtime: "unix:///run/ha.sock"}]
`

func TestProxyMistakes(t *testing.T) {
	many := "haproxy:\n"
	for n := range 33 {
		many += fmt.Sprintf("  - {name: ha%d, cluster: shop, runtime: \"unix:///run/%d.sock\"}\n", n, n)
	}
	for text, want := range map[string]string{
		withDatabase: "nothing to stand beside",
		withDatabase + `consul: {address: "http://127.0.0.1:8500"}`: "there is none; add haproxy",
		withDatabase + many:                                                                      "has 33 proxies; want at most 32",
		withProxy + `consul: {prefix: x}`:                                                        "consul.address",
		withProxy + `consul: {address: "ftp://x"}`:                                               "consul.address",
		withProxy + `consul: {address: "http://x:1", wait: 10ms}`:                                "consul.wait (line 8): is 10ms; want 1s to 5m0s",
		withProxy + `consul: {address: "http://x:1", token: a, token_file: b}`:                   "keep one of them",
		withProxy + `consul: {address: "http://x:1", tls: {ca: x.pem}}`:                          "begins with http",
		withProxy + `proxysql: [{name: ha1, cluster: shop, admin: "127.0.0.1:6032"}]`:            "proxysql[0]",
		strings.Replace(withProxy, "unix:///run/ha.sock", "/run/ha.sock", 1):                     "haproxy[0].runtime",
		strings.Replace(withProxy, "runtime:", `sidecar: "http://x:1", runtime:`, 1):             "for the controllers' files",
		strings.Replace(withProxy, `runtime: "unix:///run/ha.sock"`, `sidecar: "http://x:1"`, 1): "for the controllers' files",
		strings.Replace(withProxy, "secret: s3cret\n", "", 1):                                    "secret",
		strings.Replace(withProxy, "datacenter: dc1", "datacenter: ''", 1):                       "datacenter",
		strings.Replace(withProxy, "state_dir: state", "state_dir: ''", 1):                       "state_dir",
	} {
		if _, err := read(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	if f, err := read(withProxy); err != nil || f.HAProxy[0].Timeout != time.Second {
		t.Errorf("%+v, %v", f, err)
	}
}
