package adminapi

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
)

// object is a JSON object of the document.
type object = map[string]any

const mediaJSON = "application/json"

func (s *Server) openAPI(r *request) {
	if s.documentErr != nil {
		s.fail(r, fmt.Errorf("the OpenAPI document: %w", s.documentErr))
		return
	}
	s.send(r, fasthttp.StatusOK, s.document)
}

// document is the OpenAPI document of the routes, made of the table, the types
// on the wire, and the descriptions.
func document(routes []route) object {
	shapes := shapes{}
	paths := object{}
	described, known := descriptions(), parameters()
	for _, r := range routes {
		if r.sidecars {
			continue
		}
		path, _ := paths[r.template()].(object)
		if path == nil {
			path = object{}
			paths[r.template()] = path
		}
		operation := shapes.operation(r, described[r.method+" "+r.path], known)
		path[strings.ToLower(r.method)] = operation
		if r.method == "GET" {
			path["head"] = bodiless(operation)
		}
	}
	failure := shapes.of(reflect.TypeFor[wire.Error]())
	return object{
		"openapi": "3.0.3",
		"info": object{
			"title": "Switchyard controller", "version": "1", "description": "Every error is an object with code, message and remedy: " +
				"404 not_found for a path that is not here, 405 method_not_allowed for a method that is not listed. " +
				"What only the leader does is forwarded to it by any other controller, once. " +
				"Where http.auth is set, a caller who is not known gets 401, and one whose role does not do 403; the role viewer reads, " +
				"operator asks for what a day brings, admin forces and sets rules. " +
				"A refused connection gets 429 without a body. The calls of sidecars are described by sidecar/protocol/PROTOCOL.md.",
		},
		"servers": []any{object{"url": "/"}},
		// By the controllers' configuration: nobody is asked, or one of these.
		"security": []any{object{}, object{"basic": []any{}}, object{"token": []any{}}},
		"paths":    paths,
		"components": object{
			"schemas":   object(shapes),
			"responses": object{"Error": object{"description": "An error.", "content": object{mediaJSON: object{"schema": failure}}}},
			"securitySchemes": object{
				"controllers": object{
					"type": "apiKey", "in": "header", "name": wire.HeaderSignature,
					"description": "A signature (HMAC-SHA256) of the call with the controllers' shared secret.",
				},
				"basic": object{"type": "http", "scheme": "basic"},
				"token": object{"type": "http", "scheme": "bearer"},
			},
		},
	}
}

// template is the path as the document has it.
func (t route) template() string {
	if t.kind == "" {
		return t.path
	}
	return t.path + "{" + t.kind + "}"
}

func (s shapes) operation(r route, d description, known map[string]parameter) object {
	success := object{"description": "Success."}
	switch {
	case d.text != "":
		success["content"] = object{d.text: object{"schema": object{"type": "string"}}}
	case d.answer == nil:
		success["content"] = object{mediaJSON: object{"schema": object{"type": "object"}}}
	default:
		success["content"] = object{mediaJSON: object{"schema": s.of(reflect.TypeOf(d.answer))}}
	}
	responses := s.errors(failures(r, d))
	for status, answer := range d.others {
		shape := s.of(reflect.TypeOf(answer))
		s.also(responses, status, shape)
		// A status that is listed by itself is not looked up in its range.
		for listed := range responses {
			if strings.HasSuffix(status, "XX") && listed[0] == status[0] && listed != status {
				s.also(responses, listed, shape)
			}
		}
	}
	responses["200"] = success
	operation := object{"operationId": d.id, "tags": []any{d.tag}, "summary": d.summary, "responses": responses}
	if p := r.parameters(known); len(p) > 0 {
		operation["parameters"] = p
	}
	if r.internal {
		operation["security"] = []any{object{"controllers": []any{}}}
	}
	if d.body != nil {
		operation["requestBody"] = object{
			"required": true, "content": object{mediaJSON: object{"schema": s.request(d), "example": d.example}},
		}
	}
	return operation
}

// errors groups codes by their status.
func (s shapes) errors(codes []wire.Code) object {
	grouped := map[int][]string{}
	for _, code := range codes {
		grouped[code.Status()] = append(grouped[code.Status()], string(code))
	}
	responses := object{}
	for status, names := range grouped {
		slices.Sort(names)
		responses[strconv.Itoa(status)] = object{
			"description": strings.Join(slices.Compact(names), ", "),
			"content":     object{mediaJSON: object{"schema": s.of(reflect.TypeFor[wire.Error]())}},
		}
	}
	return responses
}

// also lets a status have another shape beside that of an error.
func (s shapes) also(responses object, status string, shape object) {
	response := object{"description": "The check says no.", "content": object{mediaJSON: object{"schema": shape}}}
	if failure, ok := responses[status].(object); ok {
		response["description"] = fmt.Sprintf("The check says no; or %s.", failure["description"])
		response["content"] = object{mediaJSON: object{"schema": object{"anyOf": []any{shape, s.of(reflect.TypeFor[wire.Error]())}}}}
	}
	responses[status] = response
}

func (t route) parameters(known map[string]parameter) []any {
	var out []any
	switch t.kind {
	case "":
	case "status":
		out = append(out, object{"name": t.kind, "in": "path", "required": true, "schema": object{"type": "integer", "minimum": 400, "maximum": 599}})
	default:
		out = append(out, object{"name": t.kind, "in": "path", "required": true, "schema": nameSchema()})
	}
	for _, name := range t.query {
		out = append(out, object{"name": name, "in": "query", "description": known[name].summary, "schema": known[name].schema})
	}
	if t.internal {
		out = append(out, object{
			"name": wire.HeaderNonce, "in": "header", "required": true, "schema": object{"type": "string"},
			"description": "A random number of the caller's, new for each call; the reply is signed with it.",
		})
	}
	return out
}

// bodiless is the HEAD of a GET.
func bodiless(get object) object {
	head := object{}
	for key, value := range get {
		head[key] = value
	}
	head["operationId"] = fmt.Sprintf("%vHead", get["operationId"])
	head["summary"] = "The status of GET, without its body."
	responses := object{}
	for status, response := range get["responses"].(object) {
		responses[status] = object{"description": response.(object)["description"]}
	}
	head["responses"] = responses
	return head
}

// request is the shape of a request's body: it has no other members.
func (s shapes) request(d description) object {
	t := reflect.TypeOf(d.body)
	shape := s.structure(t)
	shape["additionalProperties"] = d.lenient
	for _, member := range shape["properties"].(object) {
		delete(member.(object), "nullable")
	}
	delete(shape, "required")
	if len(d.needs) > 0 {
		shape["required"] = slices.Sorted(slices.Values(d.needs))
	}
	var either []any
	for _, name := range d.either {
		either = append(either, object{"required": []string{name}})
	}
	if either != nil {
		shape["oneOf"] = either
	}
	return shape
}
