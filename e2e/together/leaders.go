package together

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/e2e/site"
)

// Gone is how a leader is gone.
type Gone string

// The ways in which a leader is gone.
const (
	// Killed: SIGKILL; its connections are reset.
	Killed Gone = "killed"
	// Frozen: SIGSTOP; its connections stay open, and nothing answers.
	Frozen Gone = "frozen"
	// Cut: all packets to and from its host are lost.
	Cut Gone = "cut off"
)

// Ways are all of them.
func Ways() []Gone { return []Gone{Killed, Frozen, Cut} }

const (
	lookEvery = 2 * time.Millisecond
	lookTime  = 100 * time.Millisecond
)

// Succession makes the leader of a site be gone, and returns how long it took until another controller had taken office;
// then it brings the old one back, and waits until that follows.
func Succession(ctx context.Context, s *site.Site, how Gone) (time.Duration, error) {
	leader, err := agreed(ctx, s)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := remove(ctx, s, leader, how); err != nil {
		return 0, err
	}
	took, err := elected(ctx, s, leader, begun)
	if err != nil {
		return 0, err
	}
	if err := bringBack(ctx, s, leader, how); err != nil {
		return 0, err
	}
	_, err = agreed(ctx, s)
	return took, err
}

// agreed waits until all controllers name the same leader, and returns it.
func agreed(ctx context.Context, s *site.Site) (leader *site.Controller, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return leader, site.Until(ctx, "all controllers know the leader", func(ctx context.Context) error {
		var named string
		for _, c := range s.Controllers {
			status, err := s.StatusOf(ctx, c)
			switch {
			case err != nil:
				return err
			case status.Leader == "" || named != "" && status.Leader != named:
				return fmt.Errorf("%s says that %q leads, another one %q", c.ID, status.Leader, named)
			}
			named = status.Leader
		}
		leader = controller(s, named)
		if ok, err := leads(ctx, leader); !ok {
			return fmt.Errorf("%s has not taken office: %w", named, err)
		}
		return nil
	})
}

func remove(ctx context.Context, s *site.Site, leader *site.Controller, how Gone) error {
	switch how {
	case Killed:
		return leader.Kill()
	case Frozen:
		return leader.Freeze()
	case Cut:
		return s.Net.Cut(ctx, s.Net.Around(s.Datacenter(leader.ID))...)
	}
	return fmt.Errorf("nobody knows how a leader is %q", how)
}

func bringBack(ctx context.Context, s *site.Site, leader *site.Controller, how Gone) error {
	switch how {
	case Killed:
		return errors.Join(leader.Wait(ctx), leader.Start(ctx))
	case Frozen:
		return leader.Thaw()
	default:
		return s.Net.Heal(ctx)
	}
}

// elected waits until one of the others has taken office, and returns how long after begun that was.
func elected(ctx context.Context, s *site.Site, gone *site.Controller, begun time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	first := make(chan time.Duration, len(s.Controllers))
	var looking sync.WaitGroup
	for _, c := range s.Controllers {
		if c == gone {
			continue
		}
		looking.Go(func() {
			for ctx.Err() == nil {
				if ok, _ := leads(ctx, c); ok {
					first <- time.Since(begun)
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(lookEvery):
				}
			}
		})
	}
	defer looking.Wait()
	defer cancel()
	select {
	case took := <-first:
		return took, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("%s is gone, and nobody leads: %w", gone.ID, ctx.Err())
	}
}

// leads reports whether a controller says that it leads and can act.
func leads(ctx context.Context, c *site.Controller) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+wire.PathLeads, nil)
	if err != nil {
		return false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	return response.StatusCode == http.StatusOK, response.Body.Close()
}
