package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// source is one parsed package: all of its files, whatever their build tags, tests apart.
type source struct {
	// path is relative to the module; main's is empty.
	path  string
	name  string
	files []*ast.File
	tests []*ast.File
}

// inspect lists every offence of the packages, as sentences.
func inspect(fset *token.FileSet, sources []source) []string {
	var found []string
	for _, src := range sources {
		in := inspection{fset: fset, src: src}
		in.names()
		if r, ok := find(src.path); ok {
			in.room = r
			in.imports()
			in.purity()
		} else {
			in.offence(token.NoPos, "has no floor: give it one in e2e/house/table_test.go and in DESIGN.md")
		}
		in.state()
		found = append(found, in.found...)
	}
	return found
}

type inspection struct {
	fset  *token.FileSet
	src   source
	room  room
	found []string
}

func (in *inspection) offence(at token.Pos, format string, args ...any) {
	where := path.Join(module, in.src.path)
	if at.IsValid() {
		position := in.fset.Position(at)
		where += fmt.Sprintf(" (%s:%d)", path.Base(position.Filename), position.Line)
	}
	in.found = append(in.found, where+" "+fmt.Sprintf(format, args...))
}

func (in *inspection) names() {
	for _, name := range []string{in.src.name, path.Base(in.src.path)} {
		if slices.Contains(emptyNames(), name) {
			in.offence(token.NoPos, "is named %s, which says nothing: name it after what it knows", name)
			return
		}
	}
}

func imported(spec *ast.ImportSpec) string {
	name, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return name
}

func (in *inspection) imports() {
	for _, file := range in.src.files {
		for _, spec := range file.Imports {
			in.importOne(spec.Pos(), imported(spec))
		}
	}
	for _, file := range in.src.tests {
		for _, spec := range file.Imports {
			// A test of the product may stand on real servers; the pure floors' tests need none.
			if imported(spec) == module+"/e2e/stack" && in.room.floor <= pure {
				in.offence(spec.Pos(), "is on floor %d and its test imports e2e/stack: decisions are tested without servers",
					in.room.floor)
			}
		}
	}
}

func (in *inspection) importOne(at token.Pos, name string) {
	if name == "go.uber.org/fx" || strings.HasPrefix(name, "go.uber.org/fx/") {
		if in.room.floor != roof {
			in.offence(at, "is on floor %d and imports fx: only a roof assembles", in.room.floor)
		}
		return
	}
	below, ok := strings.CutPrefix(name, module+"/")
	if !ok {
		return
	}
	target, known := find(below)
	if !known {
		return // The package itself is reported as having no floor.
	}
	switch {
	case target.floor == outside:
		in.importOutside(at, below)
	case in.room.floor == outside:
		if target.floor >= roof {
			in.offence(at, "imports %s: e2e looks at the product from outside, through its binary", below)
		}
	case system(below) != "" && in.room.floor != roof && system(below) != system(in.src.path):
		in.offence(at, "is on floor %d and imports the adapter %s: only a roof does", in.room.floor, below)
	case system(below) != "" && system(below) == system(in.src.path):
		return
	case target.floor == in.room.floor && !slices.Contains(in.room.next, below):
		in.offence(at, "imports %s, which is on its own floor (%d)", below, target.floor)
	case target.floor > in.room.floor:
		in.offence(at, "is on floor %d and imports %s on floor %d", in.room.floor, below, target.floor)
	}
}

// importOutside holds that the product knows nothing of what tests it, but for the demo behind main.
func (in *inspection) importOutside(at token.Pos, below string) {
	switch {
	case in.room.floor == outside:
	case in.room.floor == ground && below == "e2e/demo":
	default:
		in.offence(at, "imports %s: of e2e, main imports demo, and tests what they need, nobody else anything", below)
	}
}

func (in *inspection) purity() {
	if in.room.floor > pure {
		return
	}
	for _, file := range in.src.files {
		for _, spec := range file.Imports {
			name := imported(spec)
			if name == "net" || name == "net/http" {
				continue // Held selector by selector below.
			}
			if slices.Contains(unclean(), name) {
				in.offence(spec.Pos(), "is on floor %d and imports %s: floors 0 to %d decide, and touch nothing", in.room.floor, name, pure)
			}
			if spec.Name != nil && (spec.Name.Name == "." || name == "time") {
				in.offence(spec.Pos(), "imports %s under another name, which hides the clock", name)
			}
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if selector, ok := node.(*ast.SelectorExpr); ok {
				in.selector(selector)
			}
			return true
		})
	}
}

func (in *inspection) selector(selector *ast.SelectorExpr) {
	from, ok := selector.X.(*ast.Ident)
	// A name with a declaration of its own in the file is a variable, not the package.
	if !ok || from.Obj != nil {
		return
	}
	name := from.Name + "." + selector.Sel.Name
	switch {
	case slices.Contains(clocks(), name):
		in.offence(selector.Pos(), "is on floor %d and uses %s: time comes in as an argument", in.room.floor, name)
	case from.Name == "net" && !slices.Contains(stringHelpers(), name):
		in.offence(selector.Pos(), "is on floor %d and uses %s: of net, only %s", in.room.floor, name,
			strings.Join(stringHelpers(), ", "))
	case from.Name == "http" && !strings.HasPrefix(selector.Sel.Name, "Status"):
		in.offence(selector.Pos(), "is on floor %d and uses %s: of net/http, only the numbers of statuses", in.room.floor, name)
	}
}

// state holds that nothing runs before main and that no package keeps anything that changes.
func (in *inspection) state() {
	variables := map[string]*ast.ValueSpec{}
	for _, file := range in.src.files {
		for _, declaration := range file.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					in.offence(d.Pos(), "has an init(): start from main, where it can be read")
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					maps.Copy(variables, in.variables(d))
				}
			}
		}
	}
	for _, file := range in.src.files {
		ast.Inspect(file, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, target := range n.Lhs {
						in.written(target, variables)
					}
				}
			case *ast.IncDecStmt:
				in.written(n.X, variables)
			}
			return true
		})
	}
}

func (in *inspection) variables(d *ast.GenDecl) map[string]*ast.ValueSpec {
	found := map[string]*ast.ValueSpec{}
	for _, spec := range d.Specs {
		value, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for i, name := range value.Names {
			if name.Name == "_" {
				continue // An assertion that a type has an interface.
			}
			found[name.Name] = value
			if !embedded(d, value) && (i >= len(value.Values) || !constant(value.Values[i])) {
				in.offence(name.Pos(), "keeps the package variable %s: only errors, embedded files, regular expressions "+
					"and tables may live there", name.Name)
			}
		}
	}
	return found
}

func embedded(d *ast.GenDecl, value *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{d.Doc, value.Doc} {
		if doc == nil {
			continue
		}
		for _, comment := range doc.List {
			if strings.HasPrefix(comment.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// constant tells whether a value is one of those that a package may keep.
func constant(value ast.Expr) bool {
	switch v := value.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.CallExpr:
		selector, ok := v.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		from, ok := selector.X.(*ast.Ident)
		return ok && slices.Contains([]string{"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer", "time.Date"},
			from.Name+"."+selector.Sel.Name)
	default:
		return false
	}
}

// written reports a write to a package variable, whole or in part.
func (in *inspection) written(target ast.Expr, variables map[string]*ast.ValueSpec) {
	for {
		switch t := target.(type) {
		case *ast.IndexExpr:
			target = t.X
		case *ast.SelectorExpr:
			target = t.X
		case *ast.StarExpr:
			target = t.X
		case *ast.ParenExpr:
			target = t.X
		case *ast.Ident:
			spec, ok := variables[t.Name]
			if ok && (t.Obj == nil || t.Obj.Decl == spec) {
				in.offence(t.Pos(), "writes to the package variable %s: nothing that changes lives in a package", t.Name)
			}
			return
		default:
			return
		}
	}
}
