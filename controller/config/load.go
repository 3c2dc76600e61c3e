package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	maxFile   = 1 << 20
	maxSecret = 64 << 10
)

// Load reads and checks the configuration in path. Env looks a variable of the
// environment up, as os.LookupEnv does.
func Load(path string, env func(string) (string, bool)) (*File, error) {
	data, err := readFile(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read (%w); name an existing file with --config, "+
			"`switchyard config example` prints one", path, err)
	}
	return parse(path, data, env)
}

func parse(path string, data []byte, env func(string) (string, bool)) (*File, error) {
	f := &File{}
	d, err := Read(path, data, env, f)
	if err != nil {
		return nil, err
	}
	if err := d.check(f); err != nil {
		return nil, err
	}
	return f, nil
}

// Read decodes data, which stands in path, into the struct behind into, whose
// defaults it sets first. What is in it is for the caller to check, by the
// document that is returned.
func Read(path string, data []byte, env func(string) (string, bool), into any) (*Document, error) {
	d := &Document{
		file: path, dir: filepath.Dir(path), env: env,
		lines: make(map[string]int), references: make(map[string]string),
	}
	root, err := d.root(data)
	if err != nil {
		return nil, err
	}
	v := reflect.ValueOf(into).Elem()
	preset(v)
	if err := d.decode(root, v, ""); err != nil {
		return nil, err
	}
	return d, nil
}

// ReadFile returns the bytes of a configuration file.
func ReadFile(path string) ([]byte, error) { return readFile(path, maxFile) }

// root returns the top mapping of the one document in data.
func (d *Document) root(data []byte) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	err := decoder.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return nil, d.Errorf("", "is empty; `switchyard config example` prints a file to start from")
	case err != nil:
		return nil, d.Errorf("", "is not YAML: %s; correct the syntax there", syntaxError(err))
	}
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, d.Errorf("", "goes on after the end of its first YAML document; keep one document, without further ---")
	}
	if len(doc.Content) != 1 || isNull(doc.Content[0]) {
		return nil, d.Errorf("", "is empty; `switchyard config example` prints a file to start from")
	}
	return doc.Content[0], nil
}

// syntaxError makes one line of the parser's error. It leaves out the name of
// an unknown anchor, which is a password that begins with an asterisk.
func syntaxError(err error) string {
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: ")
	if strings.Contains(text, "unknown anchor") {
		return "a value begins with *, which YAML takes for an alias, and has to be quoted"
	}
	return text
}

func readFile(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("larger than %d bytes", most)
	}
	return data, nil
}
