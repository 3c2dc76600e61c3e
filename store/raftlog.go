package store

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// raftLogger hands raft's log lines to slog. What raft calls information is
// of no use to an operator and becomes debug; warnings and errors stay.
type raftLogger struct {
	out  *slog.Logger
	name string
	args []any
}

var _ hclog.Logger = (*raftLogger)(nil)

func newRaftLogger(out *slog.Logger) *raftLogger { return &raftLogger{out: out, name: "raft"} }

// Log implements hclog.Logger.
func (r *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Error:
		to = slog.LevelError
	}
	if !r.out.Enabled(context.Background(), to) {
		return
	}
	fields := make([]any, 0, len(args)+len(r.args)+2)
	fields = append(fields, "component", r.name)
	for _, list := range [][]any{r.args, args} {
		for _, arg := range list {
			if format, ok := arg.(hclog.Format); ok && len(format) > 0 {
				arg = fmt.Sprintf(fmt.Sprint(format[0]), format[1:]...)
			}
			fields = append(fields, arg)
		}
	}
	r.out.Log(context.Background(), to, msg, fields...)
}

// Trace implements hclog.Logger.
func (r *raftLogger) Trace(msg string, args ...any) { r.Log(hclog.Trace, msg, args...) }

// Debug implements hclog.Logger.
func (r *raftLogger) Debug(msg string, args ...any) { r.Log(hclog.Debug, msg, args...) }

// Info implements hclog.Logger.
func (r *raftLogger) Info(msg string, args ...any) { r.Log(hclog.Info, msg, args...) }

// Warn implements hclog.Logger.
func (r *raftLogger) Warn(msg string, args ...any) { r.Log(hclog.Warn, msg, args...) }

// Error implements hclog.Logger.
func (r *raftLogger) Error(msg string, args ...any) { r.Log(hclog.Error, msg, args...) }

// IsTrace implements hclog.Logger.
func (r *raftLogger) IsTrace() bool { return r.IsDebug() }

// IsDebug implements hclog.Logger.
func (r *raftLogger) IsDebug() bool { return r.out.Enabled(context.Background(), slog.LevelDebug) }

// IsInfo implements hclog.Logger.
func (r *raftLogger) IsInfo() bool { return r.IsDebug() }

// IsWarn implements hclog.Logger.
func (r *raftLogger) IsWarn() bool { return r.out.Enabled(context.Background(), slog.LevelWarn) }

// IsError implements hclog.Logger.
func (r *raftLogger) IsError() bool { return r.out.Enabled(context.Background(), slog.LevelError) }

// ImpliedArgs implements hclog.Logger.
func (r *raftLogger) ImpliedArgs() []any { return r.args }

// With implements hclog.Logger.
func (r *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{out: r.out, name: r.name, args: append(append([]any{}, r.args...), args...)}
}

// Name implements hclog.Logger.
func (r *raftLogger) Name() string { return r.name }

// Named implements hclog.Logger.
func (r *raftLogger) Named(name string) hclog.Logger { return r.ResetNamed(r.name + "." + name) }

// ResetNamed implements hclog.Logger.
func (r *raftLogger) ResetNamed(name string) hclog.Logger {
	return &raftLogger{out: r.out, name: name, args: r.args}
}

// SetLevel implements hclog.Logger; the level is slog's.
func (r *raftLogger) SetLevel(hclog.Level) {}

// GetLevel implements hclog.Logger.
func (r *raftLogger) GetLevel() hclog.Level {
	if r.IsDebug() {
		return hclog.Debug
	}
	return hclog.Warn
}

// StandardLogger implements hclog.Logger.
func (r *raftLogger) StandardLogger(opts *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(r.StandardWriter(opts), "", 0)
}

// StandardWriter implements hclog.Logger.
func (r *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lines{r} }

type lines struct{ to *raftLogger }

// Write implements io.Writer.
func (l lines) Write(p []byte) (int, error) {
	l.to.Warn(strings.TrimSpace(string(p)))
	return len(p), nil
}
