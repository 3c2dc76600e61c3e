package observer

import (
	"context"
	"fmt"
	"time"

	"switchyard/controller/topology"
)

// Writer tries writes on masters.
type Writer interface {
	// Write tries one until its context ends. An error says that there is nothing
	// to say of how the server takes writes: it cannot be reached, or is not to be
	// written to.
	Write(ctx context.Context, address topology.Key) (topology.WriteSight, error)
	// Release lets go of a server.
	Release(address topology.Key)
}

// writing is what is known of writes on a master.
type writing struct {
	// sight is the last attempt's; nil where that had nothing to say.
	sight *topology.WriteSight
	// good is when a write last succeeded, or the first attempt began since there
	// was something to say.
	good time.Time
	// began is since when each trouble has been met without a success between:
	// the first one since the last success, one that it became later since it did.
	began map[topology.Trouble]time.Time
	why   string // why there is nothing to say
}

// tryWrites tries writes on a master until its context ends.
func (o *Observer) tryWrites(ctx context.Context, s *server) {
	ticker := time.NewTicker(o.cfg.WriteInterval)
	defer ticker.Stop()
	used := topology.Key{}
	defer func() {
		if !used.IsZero() {
			o.cfg.Writer.Release(used)
		}
	}()
	for {
		o.mu.Lock()
		address := s.address
		o.mu.Unlock()
		if !used.IsZero() && used != address {
			o.cfg.Writer.Release(used)
		}
		used = address
		o.tryWrite(ctx, s, address)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (o *Observer) tryWrite(ctx context.Context, s *server, address topology.Key) {
	writeCtx, cancel := context.WithTimeout(ctx, o.cfg.WriteTimeout)
	defer cancel()
	begun := o.now()
	sight, err := o.cfg.Writer.Write(writeCtx, address)
	ended := o.now()
	if ctx.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.masterOf == "" { // it was deposed meanwhile
		return
	}
	w := &s.writing
	if err != nil {
		*w = writing{why: err.Error()}
		return
	}
	sick := w.sight != nil && w.sight.Trouble == sight.Trouble
	w.sight, w.why = &sight, ""
	switch {
	case sight.Trouble == "":
		w.good, w.began = ended, nil
	case w.good.IsZero():
		w.good = begun
	}
	if _, known := w.began[sight.Trouble]; sight.Trouble != "" && !known {
		if w.began == nil {
			w.began, begun = map[topology.Trouble]time.Time{}, w.good
		}
		w.began[sight.Trouble] = begun
	}
	if sight.Trouble != "" && !sick {
		o.suspect(s, fmt.Sprintf("a write on the master failed: %s: %s", sight.Trouble, sight.Error))
	}
}

// written is how writes on s stand now; nil where nothing is known of it.
func (s *server) written(now time.Time) *topology.WriteSight {
	w := s.writing
	if w.sight == nil || s.masterOf == "" {
		return nil
	}
	sight := *w.sight
	if sight.Trouble != "" {
		sight.For = max(0, now.Sub(w.began[sight.Trouble]))
	}
	return &sight
}
