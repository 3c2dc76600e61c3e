package adminapi

import (
	"cmp"
	"log/slog"
	"slices"

	"github.com/valyala/fasthttp"

	"switchyard/controller/adminapi/wire"
)

// sidecarCalls are the routes that sidecars call.
func (s *Server) sidecarCalls() []route {
	var routes []route
	for path, call := range s.config.Sidecars {
		routes = append(routes, route{
			method: "POST", path: path, sidecars: true, deadline: cmp.Or(call.Deadline, s.limits.Answer),
			raw: func(r *request) {
				body, err := call.Answer(r.ctx, r.PostBody())
				if err != nil {
					s.fail(r, err)
					return
				}
				s.send(r, fasthttp.StatusOK, body)
			},
		})
	}
	slices.SortFunc(routes, func(a, b route) int { return cmp.Compare(a.path, b.path) })
	return routes
}

// secretFor returns the secret that signs the calls of a path.
func (s *Server) secretFor(path string) string {
	if _, ok := s.config.Sidecars[path]; ok {
		return s.config.SidecarSecret
	}
	return s.config.Secret
}

// authenticate refuses an internal call that neither a controller nor, where it
// is theirs, a sidecar made.
func (s *Server) authenticate(r *request, match route) error {
	nonce := string(r.Request.Header.Peek(wire.HeaderNonce))
	got := string(r.Request.Header.Peek(wire.HeaderSignature))
	secret := s.secretFor(r.path)
	want := wire.SignRequest(secret, string(r.Method()), r.path, nonce, r.PostBody())
	if nonce != "" && wire.VerifySignature(secret, got, want) {
		return nil
	}
	whose, remedy := "the controllers' shared secret", "give all controllers the same secret"
	if match.sidecars {
		whose, remedy = "the secret of controllers and sidecars", "give controllers (sidecars.secret) and sidecars (secret) the same"
	}
	s.log.Warn("an internal call was refused: it is not signed with "+whose,
		slog.String("path", clip(r.path)), slog.String("from", r.RemoteAddr().String()))
	return wire.NewError(wire.Unauthorized, "this call is not signed with "+whose, remedy)
}
