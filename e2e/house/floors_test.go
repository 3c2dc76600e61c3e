package house

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestFloors holds the whole module to the plan.
func TestFloors(t *testing.T) {
	fset := token.NewFileSet()
	sources, err := load(fset, "../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 10 {
		t.Fatalf("go list found %d packages only: the test looks in the wrong place", len(sources))
	}
	for _, offence := range inspect(fset, sources) {
		t.Error(offence)
	}
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir, Name                     string
	GoFiles, CgoFiles, IgnoredGoFiles         []string
	TestGoFiles, XTestGoFiles, InvalidGoFiles []string
}

func load(fset *token.FileSet, dir string) ([]source, error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Name,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,"+
		"XTestGoFiles,InvalidGoFiles", "./...")
	cmd.Dir = dir
	var complaint strings.Builder
	cmd.Stderr = &complaint
	output, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, complaint.String())
	}
	var sources []source
	decoder := json.NewDecoder(strings.NewReader(string(output)))
	for {
		var pkg listed
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			return sources, nil
		} else if err != nil {
			return nil, fmt.Errorf("read go list's answer: %w", err)
		}
		src, err := parse(fset, pkg)
		if err != nil {
			return nil, err
		}
		sources = append(sources, src)
	}
}

// parse reads every file of a package. Files that other build tags leave out are read too: a rule that holds only
// without a tag is none.
func parse(fset *token.FileSet, pkg listed) (source, error) {
	src := source{path: strings.TrimPrefix(strings.TrimPrefix(pkg.ImportPath, module), "/"), name: pkg.Name}
	seen := map[string]bool{}
	for _, names := range [][]string{pkg.GoFiles, pkg.CgoFiles, pkg.IgnoredGoFiles, pkg.InvalidGoFiles, pkg.TestGoFiles, pkg.XTestGoFiles} {
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			file, err := parser.ParseFile(fset, filepath.Join(pkg.Dir, name), nil, parser.ParseComments)
			if err != nil {
				return source{}, err
			}
			if strings.HasSuffix(name, "_test.go") {
				src.tests = append(src.tests, file)
			} else {
				src.files = append(src.files, file)
			}
		}
	}
	return src, nil
}

// TestOffencesAreFound plants each kind of offence, and beside it the nearest thing that is allowed.
func TestOffencesAreFound(t *testing.T) {
	for _, test := range []struct {
		name, path, code string
		want             string // empty: no offence
	}{
		{"clock on a pure floor", "controller/safety", `import "time"; func f() any { return time.Now() }`, "uses time.Now"},
		{"time as a type", "controller/safety", `import "time"; func f(now time.Time) time.Duration { return now.Sub(now) }`, ""},
		{"a variable called time", "controller/plan", `type c struct{ Now int }; func f(time c) int { return time.Now }`, ""},
		{"timer on a pure floor", "controller/gtid", `import "time"; func f() { time.Sleep(1) }`, "uses time.Sleep"},
		{"the clock under another name", "store/ledger", `import clock "time"; func f() any { return clock.Now() }`, "hides the clock"},
		{"clock in the hands", "controller/observer", `import "time"; func f() any { return time.Now() }`, ""},
		{"context on a pure floor", "controller/analysis", `import "context"; func f(context.Context) {}`, "imports context"},
		{"logging on a pure floor", "controller/candidate", `import "log/slog"; func f() { slog.Info("") }`, "imports log/slog"},
		{"lock on a pure floor", "store/codec", `import "sync"; type t struct{ sync.Mutex }`, "imports sync"},
		{"dice on a pure floor", "controller/plan", `import "math/rand/v2"; func f() int { return rand.Int() }`, "imports math/rand/v2"},
		{"files on a pure floor", "router/haproxy", `import "os"; func f() { os.Exit(1) }`, "imports os"},
		{"network on a pure floor", "router/routes", `import "net"; func f() { net.Dial("", "") }`, "uses net.Dial"},
		{"requests on a pure floor", "controller/adminapi/wire", `import "net/http"; var _ http.Client`, "uses http.Client"},
		{"statuses on a pure floor", "controller/adminapi/wire", `import "net/http"; const s = http.StatusOK`, ""},
		{"network strings on a pure floor", "router/routes", `import "net"; func f() string { return net.JoinHostPort("", "") }`, ""},
		{"addresses on a pure floor", "controller/topology", `import "net/netip"; var _ netip.Addr`, ""},

		{"upwards", "controller/analysis", `import "switchyard/controller/safety"; var _ safety.T`, "imports controller/safety on floor 3"},
		{"downwards", "controller/safety", `import "switchyard/controller/analysis"; var _ analysis.T`, ""},
		{"sideways", "controller/candidate", `import "switchyard/controller/analysis"; var _ analysis.T`, "on its own floor"},
		{"sideways as drawn", "controller/rejoin", `import "switchyard/controller/executor"; var _ executor.T`, ""},
		{"adapter in the loop", "controller/failover", `import "switchyard/integrations/consul"; var _ consul.T`, "imports the adapter"},
		{"adapter in another", "integrations/consul", `import "switchyard/integrations/haproxy"; var _ haproxy.T`, "imports the adapter"},
		{"parts of one adapter", "integrations/mysql/probe", `import "switchyard/integrations/mysql/link"; var _ link.T`, ""},
		{"adapter under the roof", "controller/app", `import "switchyard/integrations/consul"; var _ consul.T`, ""},
		{"adapter in main", "", `import "switchyard/integrations/consul"; var _ consul.T`, "imports the adapter"},
		{"fx in the loop", "controller/failover", `import "go.uber.org/fx"; var _ fx.Option`, "imports fx"},
		{"fx under the roof", "controller/app", `import "go.uber.org/fx"; var _ fx.Option`, ""},
		{"stack in the product", "store", `import "switchyard/e2e/stack"; var _ stack.Stack`, "imports e2e/stack"},
		{"stack in main", "", `import "switchyard/e2e/stack"; var _ stack.Stack`, "imports e2e/stack"},
		{"demo in main", "", `import "switchyard/e2e/demo"; var _ demo.Options`, ""},
		{"stack in the demo", "e2e/demo", `import "switchyard/e2e/stack"; var _ stack.Stack`, ""},
		{"roof in e2e", "e2e/demo", `import "switchyard/controller/app"; var _ app.T`, "from outside"},

		{"no floor", "controller/attic", `type t int`, "has no floor"},
		{"a name that says nothing", "integrations/mysql/util", `type t int`, "is named util"},
		{"init", "controller/app", `func init() {}`, "has an init()"},
		{"a method called init", "controller/app", `type t int; func (t) init() {}`, ""},
		{"state", "controller/app", `var cache = make(map[string]int)`, "keeps the package variable cache"},
		{"state without a value", "controller/app", `import "sync"; var mu sync.Mutex`, "keeps the package variable mu"},
		{"a table", "controller/app", `var names = map[string]int{"a": 1}; func f() int { return names["a"] }`, ""},
		{"a table that is written to", "controller/app", `var names = map[string]int{}; func f() { names["a"] = 1 }`, "writes to the package variable names"},
		{"a counter", "controller/app", `var n = [1]int{}; func f() { n[0]++ }`, "writes to the package variable n"},
		{"a local of the same name", "controller/app", `var n = [1]int{}; func f() { n := [1]int{}; n[0]++ }`, ""},
		{"an error", "controller/app", `import "errors"; var ErrGone = errors.New("gone")`, ""},
		{"an expression", "controller/app", `import "regexp"; var word = regexp.MustCompile("a")`, ""},
		{"an embedded file", "controller/app", "import _ \"embed\"\n\n//go:embed a.sql\nvar schema string", ""},
		{"an assertion", "controller/app", `import "io"; type t struct{ io.Reader }; var _ io.Reader = (*t)(nil)`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "planted.go", "package p; "+test.code, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			found := inspect(fset, []source{{path: test.path, name: "p", files: []*ast.File{file}}})
			if test.want == "" {
				if len(found) > 0 {
					t.Errorf("found %q, want nothing", found)
				}
				return
			}
			if len(found) != 1 || !strings.Contains(found[0], test.want) || !strings.Contains(found[0], module+"/"+test.path) &&
				test.path != "" {
				t.Errorf("found %q, want one offence that names the package and says %q", found, test.want)
			}
		})
	}
}

// TestStackInATestOfAPureFloor is the one rule about test files.
func TestStackInATestOfAPureFloor(t *testing.T) {
	for path, want := range map[string]int{"controller/safety": 1, "integrations/mysql/probe": 0} {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "planted_test.go", `package p; import "switchyard/e2e/stack"; var _ stack.Stack`, 0)
		if err != nil {
			t.Fatal(err)
		}
		if found := inspect(fset, []source{{path: path, name: "p", tests: []*ast.File{file}}}); len(found) != want {
			t.Errorf("%s: found %q, want %d offences", path, found, want)
		}
	}
}
