package adminapi

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/controller/topology"
)

// shapes are the JSON schemas of the types on the wire, by their names in the
// document.
type shapes map[string]any

// of returns the schema of t as encoding/json writes it; a structure's is a
// reference to the one that it keeps.
func (s shapes) of(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[topology.Key]():
		return object{"type": "string", "description": "HOST:PORT, or empty."}
	case t == reflect.TypeFor[wire.Duration]():
		return object{"type": "string", "description": "A length of time such as 90s, 2h30m, 3d or 2w."}
	case t == reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "format": "int64", "description": "Nanoseconds."}
	case t == reflect.TypeFor[wire.Code]():
		return object{"type": "string", "enum": wire.Codes()}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		name := shapeName(t)
		if _, ok := s[name]; !ok {
			s[name] = nil // It may hold itself.
			s[name] = s.structure(t)
		}
		return object{"$ref": "#/components/schemas/" + name}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "format": "byte"}
		}
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	default:
		return plain(t.Kind())
	}
}

func plain(kind reflect.Kind) object {
	switch kind {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "format": "int64", "minimum": 0}
	default:
		return object{}
	}
}

// shapeName is the type's own, behind its package's where that is not wire.
func shapeName(t reflect.Type) string {
	if t.PkgPath() == reflect.TypeFor[wire.Error]().PkgPath() {
		return t.Name()
	}
	return t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:] + "." + t.Name()
}

// structure is the schema of a struct: what is always written is required.
func (s shapes) structure(t reflect.Type) object {
	properties, required := object{}, []string{}
	s.members(t, properties, &required)
	shape := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		slices.Sort(required)
		shape["required"] = required
	}
	return shape
}

func (s shapes) members(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.members(f.Type, properties, required)
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		shape := s.of(f.Type)
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
			shape = orNull(f.Type.Kind(), shape)
		}
		properties[name] = shape
	}
}

// orNull lets a member be null that is always written and may be nil.
func orNull(kind reflect.Kind, shape object) object {
	if kind != reflect.Pointer && kind != reflect.Slice && kind != reflect.Map {
		return shape
	}
	if _, ok := shape["$ref"]; ok {
		return object{"nullable": true, "allOf": []any{shape}}
	}
	shape["nullable"] = true
	return shape
}
