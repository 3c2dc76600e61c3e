package config

import (
	"encoding"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/policy"
	"switchyard/controller/topology"
)

// Document is a file on its way to a File. It decodes YAML's nodes by itself
// rather than through the library, whose errors quote values, secrets too, and
// name Go's types in place of keys.
type Document struct {
	file string
	dir  string
	env  func(string) (string, bool)
	// lines has the line of every key that was given.
	lines map[string]int
	// references has the variable that a key's value came from.
	references map[string]string
}

// Errorf says what is wrong with a key, in one sentence.
func (d *Document) Errorf(key, format string, args ...any) error {
	where := d.file
	if key != "" {
		where += ": " + key
	}
	if line, ok := d.lines[key]; ok {
		where += fmt.Sprintf(" (line %d)", line)
	}
	return &sentence{where + ": ", fmt.Errorf(format, args...)}
}

// sentence is an error in one line, whatever the errors within it.
type sentence struct {
	where string
	err   error
}

func (s *sentence) Error() string { return s.where + strings.ReplaceAll(s.err.Error(), "\n", "; ") }
func (s *sentence) Unwrap() error { return s.err }

// Has reports whether a key was given a value, be it empty.
func (d *Document) Has(key string) bool {
	_, ok := d.lines[key]
	return ok
}

// Path resolves a path of the file, which is relative to the file.
func (d *Document) Path(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.dir, path)
}

type defaulter interface{ defaults() }

// preset gives a struct, and the structs in it, their defaults.
func preset(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	if s, ok := v.Addr().Interface().(defaulter); ok {
		s.defaults()
	}
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			preset(v.Field(i))
		}
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// decode sets v from n. A null leaves v as it is, as if its key were not there.
func (d *Document) decode(n *yaml.Node, v reflect.Value, key string) error {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		return d.Errorf(key, "uses a YAML anchor or alias; write the value out, and quote one that begins with & or *")
	case strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!"):
		return d.Errorf(key, "uses a YAML tag; write the value without one, and quote one that begins with !")
	case isNull(n):
		return nil
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return d.decodeText(n, v, key)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.decodeStruct(n, v, key)
	case reflect.Slice:
		return d.decodeSlice(n, v, key)
	case reflect.Map:
		return d.decodeMap(n, v, key)
	case reflect.Int64: // time.Duration
		return d.decodeDuration(n, v, key)
	case reflect.Int:
		return d.decodeInt(n, v, key)
	case reflect.Bool:
		return d.decodeBool(n, v, key)
	default:
		return d.decodeString(n, v, key)
	}
}

func (d *Document) decodeStruct(n *yaml.Node, v reflect.Value, key string) error {
	if n.Kind != yaml.MappingNode {
		return d.wrongKind(n, key, "a mapping of keys to values")
	}
	known := keysOf(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := join(key, name.Value)
		field := slices.Index(known, name.Value)
		if name.Kind != yaml.ScalarNode || field < 0 {
			return d.unknownKey(name, key, known)
		}
		if err := d.note(at, name); err != nil {
			return err
		}
		if err := d.decode(value, v.Field(field), at); err != nil {
			return err
		}
		if isNull(value) {
			delete(d.lines, at)
		}
	}
	return nil
}

// note remembers the line of a key, of which there may be only one.
func (d *Document) note(at string, name *yaml.Node) error {
	if line, twice := d.lines[at]; twice {
		return d.Errorf("", "%s is given twice, in lines %d and %d; keep one", at, line, name.Line)
	}
	d.lines[at] = name.Line
	return nil
}

func (d *Document) unknownKey(name *yaml.Node, parent string, known []string) error {
	if name.Kind != yaml.ScalarNode {
		return d.Errorf(parent, "has a key in line %d that is not a text; want one of %s", name.Line, strings.Join(known, ", "))
	}
	at := join(parent, clip(name.Value))
	d.lines[at] = name.Line
	if near := nearest(name.Value, known); near != "" {
		return d.Errorf(at, "is not a known key; did you mean %s?", join(parent, near))
	}
	return d.Errorf(at, "is not a known key; remove it, or use one of %s", strings.Join(known, ", "))
}

func (d *Document) decodeSlice(n *yaml.Node, v reflect.Value, key string) error {
	if n.Kind != yaml.SequenceNode {
		return d.wrongKind(n, key, "a list")
	}
	if len(n.Content) == 0 {
		v.SetZero()
		return nil
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", key, i)
		d.lines[at] = item.Line
		if isNull(item) {
			return d.Errorf(at, "is empty; give the item a value, or remove it")
		}
		preset(list.Index(i))
		if err := d.decode(item, list.Index(i), at); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

// decodeMap reads a mapping whose keys are instances, or troubles.
func (d *Document) decodeMap(n *yaml.Node, v reflect.Value, key string) error {
	if n.Kind != yaml.MappingNode {
		want := "a mapping of HOST:PORT to values"
		if v.Type().Key() == reflect.TypeFor[topology.Trouble]() {
			want = "a mapping of troubles to durations, such as {stalled-writes: 30s}"
		}
		return d.wrongKind(n, key, want)
	}
	if len(n.Content) == 0 {
		v.SetZero()
		return nil
	}
	m := reflect.MakeMap(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := fmt.Sprintf("%s[%q]", key, name.Value)
		if err := d.note(at, name); err != nil {
			return err
		}
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := d.decode(name, k, at); err != nil {
			return err
		}
		if isNull(value) {
			return d.Errorf(at, "is empty; give it a value, or remove it")
		}
		if err := d.decode(value, e, at); err != nil {
			return err
		}
		switch {
		case e.IsZero() && e.Kind() == reflect.Int64:
			return d.Errorf(at, "is 0s; want a duration above 0, or remove it")
		case e.IsZero():
			return d.Errorf(at, "is empty; give it a value, or remove it")
		}
		if m.MapIndex(k).IsValid() {
			return d.Errorf(at, "names an instance that is there already; keep one of them")
		}
		m.SetMapIndex(k, e)
	}
	v.Set(m)
	return nil
}

func (d *Document) decodeText(n *yaml.Node, v reflect.Value, key string) error {
	text, err := d.text(n, key, "a text")
	if err != nil {
		return err
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
		return d.Errorf(key, "%w", err)
	}
	if k, ok := v.Addr().Interface().(*topology.Key); ok {
		*k = canonical(*k)
	}
	return nil
}

// canonical writes a host as discovery does, so that rules for a server find it.
func canonical(k topology.Key) topology.Key {
	k.Host = strings.ToLower(strings.TrimSuffix(k.Host, "."))
	if a, err := netip.ParseAddr(k.Host); err == nil {
		k.Host = a.Unmap().String()
	}
	return k
}

func (d *Document) decodeDuration(n *yaml.Node, v reflect.Value, key string) error {
	const want = "a duration such as 500ms, 5s or 10m"
	text, err := d.text(n, key, want)
	if err != nil {
		return err
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		return d.Errorf(key, "wants %s, not %q", want, clip(text))
	}
	if duration < 0 {
		return d.Errorf(key, "is %s; want a duration that is not negative", text)
	}
	v.SetInt(int64(duration))
	return nil
}

func (d *Document) decodeInt(n *yaml.Node, v reflect.Value, key string) error {
	text, err := d.text(n, key, "a whole number")
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(text, 10, 0)
	if err != nil {
		return d.Errorf(key, "wants a whole number, not %q", clip(text))
	}
	v.SetInt(number)
	return nil
}

func (d *Document) decodeBool(n *yaml.Node, v reflect.Value, key string) error {
	text, err := d.text(n, key, "true or false")
	if err != nil {
		return err
	}
	if text != "true" && text != "false" {
		return d.Errorf(key, "wants true or false, not %q", clip(text))
	}
	v.SetBool(text == "true")
	return nil
}

type chooser interface{ choices() []string }

func (d *Document) decodeString(n *yaml.Node, v reflect.Value, key string) error {
	text, err := d.text(n, key, "a text")
	if err != nil {
		return err
	}
	var choices []string
	switch c := v.Interface().(type) {
	case chooser:
		choices = c.choices()
	case wire.UserRole:
		for _, role := range wire.UserRoles() {
			choices = append(choices, string(role))
		}
	case policy.Rule:
		choices = []string{"must", "prefer", "neutral", "prefer_not", "must_not"}
	case policy.SemiSync:
		choices = []string{"auto", "on", "off"}
	case policy.Partition:
		choices = []string{"hold", "failover"}
	case policy.Proxies:
		choices = []string{"fast", "strict"}
	case policy.Backlog:
		choices = []string{"delay", "fail"}
	case policy.SemiSyncRepair:
		choices = []string{"none", "enough", "exact"}
	case topology.Trouble:
		for _, t := range topology.Troubles() {
			choices = append(choices, string(t))
		}
	}
	if choices != nil && !slices.Contains(choices, text) {
		return d.Errorf(key, "is %q; want %s", clip(text), oneOf(choices))
	}
	v.SetString(text)
	return nil
}

func (d *Document) wrongKind(n *yaml.Node, key, want string) error {
	got := "a single value"
	switch n.Kind {
	case yaml.MappingNode:
		got = "a mapping"
	case yaml.SequenceNode:
		got = "a list"
	}
	return d.Errorf(key, "wants %s, not %s", want, got)
}

// text returns a scalar's text; ${NAME} is the variable of that name.
func (d *Document) text(n *yaml.Node, key, want string) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", d.wrongKind(n, key, want)
	}
	if !strings.HasPrefix(n.Value, "${") || !strings.HasSuffix(n.Value, "}") {
		return n.Value, nil
	}
	name := n.Value[2 : len(n.Value)-1]
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return "", d.Errorf(key, "refers to the environment with a name that no variable can have; want ${NAME}")
	}
	value, ok := d.env(name)
	if !ok {
		return "", d.Errorf(key, "refers to the environment variable %s, which is not set; set it, or change the reference", name)
	}
	d.references[key] = name
	return value, nil
}

// keysOf returns the keys of a struct in the order of its fields.
func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("yaml")
	}
	return keys
}

func join(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

func oneOf(choices []string) string {
	last := len(choices) - 1
	return strings.Join(choices[:last], ", ") + " or " + choices[last]
}
