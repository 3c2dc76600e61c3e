package adminapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"switchyard/controller/adminapi"
	"switchyard/controller/adminapi/wire"
)

var record = flag.Bool("record", false, "write docs/openapi.json anew")

const documentFile = "../../docs/openapi.json"

type object = map[string]any

// committed is the document as the file has it, for all answers of all tests.
var committed = sync.OnceValues(func() (d object, err error) {
	body, err := os.ReadFile(documentFile)
	if err != nil {
		return nil, err
	}
	return d, json.Unmarshal(body, &d)
})

func documentOf(t *testing.T) object {
	t.Helper()
	d, err := committed()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// in walks down an object; nil where there is nothing.
func in(v any, names ...string) any {
	for _, name := range names {
		o, ok := v.(object)
		if !ok {
			return nil
		}
		v = o[name]
	}
	return v
}

// everything is the configuration of a door that has all routes.
func everything(id string) adminapi.Config {
	return adminapi.Config{
		SelfID: id, Secret: secret, Keeper: &keeper{keeping: wire.Keeping{Controller: id}},
		Word: func(_ context.Context, q wire.WordRequest) (wire.WordReply, error) {
			if err := q.Check(); err != nil {
				return wire.WordReply{}, wire.NewError(wire.BadRequest, err.Error(), "")
			}
			return wire.WordReply{Controller: id, Given: true}, nil
		},
	}
}

func TestOpenAPIIsServedAsItIsCommitted(t *testing.T) {
	d := open(t, everything("c1"), full())
	a := send(t, "GET", d.url+wire.PathOpenAPI, "")
	var served bytes.Buffer
	if err := json.Indent(&served, []byte(a.body), "", " "); err != nil {
		t.Fatal(err)
	}
	if *record {
		if err := os.WriteFile(documentFile, served.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(served.Bytes(), committed) {
		t.Errorf("docs/openapi.json is not what is served: run `go test ./controller/adminapi -run OpenAPI -record`, and read the difference")
	}
}

func TestEveryRouteIsDescribed(t *testing.T) {
	table, described := adminapi.New(everything("c1"), full(), nil).Documented()
	for name := range table {
		if !described[name] {
			t.Errorf("%s is in the table of routes, and in none of the descriptions of describe.go", name)
		}
	}
	for name := range described {
		if !table[name] {
			t.Errorf("%s is described, and not in the table of routes", name)
		}
	}
	ids := map[string]string{}
	for path, item := range in(documentOf(t), "paths").(object) {
		for method, operation := range item.(object) {
			at := method + " " + path
			id, _ := in(operation, "operationId").(string)
			if other, taken := ids[id]; taken || id == "" {
				t.Errorf("%s: its id %q is that of %s", at, id, other)
			}
			ids[id] = at
			if in(operation, "summary") == "" || in(operation, "tags").([]any)[0] == "" {
				t.Errorf("%s: it has no summary or tag", at)
			}
			parameters, _ := in(operation, "parameters").([]any)
			for _, p := range parameters {
				if in(p, "schema", "type") == nil || in(p, "in") == "query" && in(p, "description") == "" {
					t.Errorf("%s: its parameter %v has no type or description", at, in(p, "name"))
				}
			}
			if method == "get" && in(item, "head") == nil {
				t.Errorf("%s: it has no HEAD", at)
			}
		}
	}
}

// conforms holds an answer against the document: its status is there, and its
// body has the shape that goes with it.
func conforms(t *testing.T, method, target string, a answer) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil || strings.HasPrefix(u.Path, "/sidecar/") || *record {
		return
	}
	document := documentOf(t)
	item := itemOf(document, u.EscapedPath(), a.status)
	operation := in(item, strings.ToLower(method))
	if operation == nil {
		if want := map[bool]int{true: 404, false: 405}[item == nil]; a.status != want && method != "HEAD" {
			t.Errorf("%s %s: it is not in the document, and the status is %d", method, u.Path, a.status)
		}
		return
	}
	responses := in(operation, "responses").(object)
	response, ok := responses[strconv.Itoa(a.status)]
	if !ok {
		response, ok = responses[strconv.Itoa(a.status/100)+"XX"]
	}
	if !ok {
		t.Errorf("%s %s: status %d is not in the document: %s", method, u.Path, a.status, a.body)
		return
	}
	schema := in(response, "content", "application/json", "schema")
	if schema == nil {
		return
	}
	var body any
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Errorf("%s %s: %v", method, u.Path, err)
	}
	for _, fault := range faults(document, schema, body, "body") {
		t.Errorf("%s %s: status %d: %s: %s", method, u.Path, a.status, fault, a.body)
	}
}

// itemOf finds the path of the document; nil for none.
func itemOf(document object, path string, status int) any {
	paths := in(document, "paths").(object)
	if item, ok := paths[path]; ok {
		return item
	}
	for template, item := range paths {
		before, _, variable := strings.Cut(template, "{")
		if rest, ok := strings.CutPrefix(path, before); variable && ok && rest != "" {
			return item
		}
	}
	if status == 404 && path != wire.PathLeaderCheck+"/" {
		return nil
	}
	return paths[strings.TrimSuffix(path, "/")]
}

// faults are what is wrong with a value by its schema. A member that the schema
// does not know is one, though clients must not mind it.
func faults(document, schema, value any, at string) []string {
	if name, ok := in(schema, "$ref").(string); ok {
		return faults(document, in(document, strings.Split(strings.TrimPrefix(name, "#/"), "/")...), value, at)
	}
	if all, ok := in(schema, "allOf").([]any); ok && value != nil {
		return faults(document, all[0], value, at)
	}
	if some, ok := in(schema, "anyOf").([]any); ok {
		var found []string
		for _, one := range some {
			f := faults(document, one, value, at)
			if len(f) == 0 {
				return nil
			}
			found = append(found, f...)
		}
		return found
	}
	if value == nil {
		if in(schema, "nullable") != true {
			return []string{at + " is null"}
		}
		return nil
	}
	return faultsOf(document, schema, value, at)
}

func faultsOf(document, schema, value any, at string) []string {
	kind, _ := in(schema, "type").(string)
	switch v := value.(type) {
	case object:
		if kind != "object" {
			return []string{fmt.Sprintf("%s is an object, not %q", at, kind)}
		}
		return faultsOfObject(document, schema, v, at)
	case []any:
		if kind != "array" {
			return []string{fmt.Sprintf("%s is a list, not %q", at, kind)}
		}
		var found []string
		for i, one := range v {
			found = append(found, faults(document, in(schema, "items"), one, fmt.Sprintf("%s[%d]", at, i))...)
		}
		return found
	case string:
		if enum, ok := in(schema, "enum").([]any); ok && !slices.Contains(enum, any(v)) {
			return []string{fmt.Sprintf("%s is %q, which is not listed", at, v)}
		}
		if kind != "string" {
			return []string{fmt.Sprintf("%s is a string, not %q", at, kind)}
		}
	case float64:
		if kind != "number" && (kind != "integer" || v != float64(int64(v))) {
			return []string{fmt.Sprintf("%s is a number, not %q", at, kind)}
		}
	case bool:
		if kind != "boolean" {
			return []string{fmt.Sprintf("%s is true or false, not %q", at, kind)}
		}
	}
	return nil
}

func faultsOfObject(document, schema any, value object, at string) []string {
	var found []string
	needed, _ := in(schema, "required").([]any)
	for _, name := range needed {
		if _, ok := value[name.(string)]; !ok {
			found = append(found, fmt.Sprintf("%s has no %q", at, name))
		}
	}
	properties, closed := in(schema, "properties").(object)
	for name, member := range value {
		shape, ok := properties[name]
		if !ok {
			if shape = in(schema, "additionalProperties"); shape == nil && closed {
				found = append(found, fmt.Sprintf("%s has %q, which the document does not know", at, name))
			}
		}
		if shape != nil {
			found = append(found, faults(document, shape, member, at+"."+name)...)
		}
	}
	return found
}

// The check that all other tests rely on must be able to fail.
func TestConformsFindsWhatIsWrong(t *testing.T) {
	document := documentOf(t)
	schema := object{"$ref": "#/components/schemas/Status"}
	good := `{"controller":"c1","state":"Leader","leader":"c1","term":4,"controllers":null,"clusters":[],"proxies":[],"consul":[]}`
	for body, part := range map[string]string{
		good: "",
		strings.Replace(good, `"term":4,`, "", 1):                    `has no "term"`,
		strings.Replace(good, `4`, `"4"`, 1):                         `body.term is a string, not "integer"`,
		strings.Replace(good, `4`, `4.5`, 1):                         `body.term is a number`,
		strings.Replace(good, `"clusters":[]`, `"clusters":{}`, 1):   `body.clusters is an object`,
		strings.Replace(good, `"clusters":[]`, `"clusters":[1]`, 1):  `body.clusters[0] is a number`,
		strings.Replace(good, `"state":"Leader"`, `"state":null`, 1): `body.state is null`,
		strings.Replace(good, `{`, `{"mood":1,`, 1):                  `"mood", which the document does not know`,
	} {
		var value any
		if err := json.Unmarshal([]byte(body), &value); err != nil {
			t.Fatal(err)
		}
		found := faults(document, schema, value, "body")
		if part == "" && len(found) > 0 || part != "" && (len(found) == 0 || !strings.Contains(found[0], part)) {
			t.Errorf("%s: found %q, want %q", body, found, part)
		}
	}
	if f := faults(document, object{"$ref": "#/components/schemas/Error"}, object{"code": "odd", "message": "m"}, "body"); len(f) != 1 {
		t.Errorf("an unknown code: %q", f)
	}
}

// Each documented call, made as the document says, is answered, and each request
// is refused without what the document says that it needs.
func TestTheDocumentIsTrue(t *testing.T) {
	svc := full()
	svc.do = func(request any) (any, error) {
		switch request.(type) {
		case wire.FailoverRequest:
			return wire.Recovery{ID: "main-9", Outcome: "completed"}, nil
		case wire.ServerRequest:
			return nil, wire.NewError(wire.NotFound, "there is no server db1:3306", "")
		}
		return wire.Done{Action: "it", By: "kim", Sentence: "done"}, nil
	}
	svc.voice = func(context.Context) (wire.Voice, error) { return wire.Voice{ID: "c1"}, nil }
	svc.members = func(context.Context) (wire.Controllers, error) { return wire.Controllers{Controller: "c1"}, nil }
	svc.backup = func(context.Context, bool) ([]byte, error) { return []byte("a backup"), nil }
	svc.kv = func(context.Context, string) (wire.KV, error) { return wire.KV{Controller: "c1"}, nil }
	svc.audit = func(wire.AuditQuery) (wire.Audit, error) { return wire.Audit{}, nil }
	leader := open(t, everything("c1"), svc)
	lonely := open(t, everything("c2"), &service{operations: svc.operations})
	document := documentOf(t)
	for path, item := range in(document, "paths").(object) {
		for method, operation := range item.(object) {
			t.Run(method+" "+path, func(t *testing.T) {
				c := calling{method: strings.ToUpper(method), path: filled(path), operation: operation}
				c.asDocumented(t, leader)
				c.withoutLeader(t, lonely)
				if method == "post" {
					c.spoiled(t, leader)
				}
				c.badQuery(t, leader)
			})
		}
	}
}

func filled(template string) string {
	return strings.NewReplacer("{cluster}", "main", "{recovery}", "main-2", "{status}", "503").Replace(template)
}

// calling is one documented call.
type calling struct {
	method, path string
	operation    any
}

func (c calling) send(t *testing.T, d door, query string, body any) answer {
	t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	var header []string
	if in(c.operation, "security") != nil {
		header = []string{wire.HeaderNonce, "n1", wire.HeaderSignature, wire.SignRequest(secret, c.method, c.path, "n1", text)}
	}
	return send(t, c.method, d.url+c.path+query, string(text), header...)
}

func (c calling) example() any {
	return in(c.operation, "requestBody", "content", "application/json", "example")
}

func (c calling) asDocumented(t *testing.T, d door) {
	t.Helper()
	a := c.send(t, d, "", c.example())
	absent := []string{wire.PathMetrics, wire.PathEndDowntime, wire.PathRecover, wire.PathReattach}
	switch {
	case slices.Contains(absent, c.path):
		if a.status != 404 {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	case a.status != 200:
		t.Errorf("status %d: %s", a.status, a.body)
	}
}

// withoutLeader finds out which calls need one.
func (c calling) withoutLeader(t *testing.T, d door) {
	t.Helper()
	description, _ := in(c.operation, "responses", "503", "description").(string)
	documented := strings.Contains(description, string(wire.NoLeader))
	if c.method == "HEAD" || !documented && (strings.HasPrefix(c.path, "/api/v1/") || strings.HasPrefix(c.path, "/internal/")) {
		return // Those need nobody, and the service of this controller is empty.
	}
	a := c.send(t, d, "", c.example())
	if got := strings.Contains(a.body, `"no_leader"`); got != documented {
		t.Errorf("without a leader: %s; documented as the leader's: %v", a.body, documented)
	}
}

func (c calling) badQuery(t *testing.T, d door) {
	t.Helper()
	a := c.send(t, d, "?nonsense=1", c.example())
	if a.status != 400 {
		t.Errorf("an unknown query parameter: status %d", a.status)
	}
	parameters, _ := in(c.operation, "parameters").([]any)
	for _, p := range parameters {
		if in(p, "in") != "query" {
			continue
		}
		good := map[any]string{"server": "db1", "kind": "hook", "since": "2h", "local": "true"}[in(p, "name")]
		if good == "" {
			good = "1"
		}
		if a := c.send(t, d, fmt.Sprintf("?%s=%s", in(p, "name"), good), nil); a.status != 200 {
			t.Errorf("query parameter %s: status %d: %s", in(p, "name"), a.status, a.body)
		}
	}
}

// spoiled leaves members of the example away, and gives them a wrong type.
func (c calling) spoiled(t *testing.T, d door) {
	t.Helper()
	schema := in(c.operation, "requestBody", "content", "application/json", "schema")
	example := c.example().(object)
	needed, _ := in(schema, "required").([]any)
	either, strict := in(schema, "oneOf") != nil, in(schema, "additionalProperties") == false
	for name := range in(schema, "properties").(object) {
		less := maps.Clone(example)
		delete(less, name)
		a := c.send(t, d, "", less)
		must := slices.Contains(needed, any(name)) || either && (name == "recovery" || name == "rule")
		if _, given := example[name]; given && must != (a.status == 400) {
			t.Errorf("without %q: status %d, documented as needed: %v: %s", name, a.status, must, a.body)
		}
		wrong := maps.Clone(example)
		wrong[name] = []any{object{}}
		if strict {
			wantError(t, c.send(t, d, "", wrong), 400, wire.BadRequest, strconv.Quote(name))
		} else {
			wantError(t, c.send(t, d, "", wrong), 400, wire.BadRequest, name)
		}
	}
	more := maps.Clone(example)
	more["nonsense"] = 1
	if a := c.send(t, d, "", more); strict {
		wantError(t, a, 400, wire.BadRequest, "nonsense")
	} else if a.status != 200 {
		t.Errorf("with a member that nobody knows: status %d: %s", a.status, a.body)
	}
}
