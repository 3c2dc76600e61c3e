package config

import (
	"fmt"
	"strings"
	"time"

	"switchyard/controller/hooks"
)

// Hooks is the operator's commands around a recovery.
type Hooks struct {
	Timeout time.Duration `yaml:"timeout"`
	Shell   string        `yaml:"shell"`

	OnFailureDetection             []string `yaml:"on_failure_detection"`
	PreGracefulTakeover            []string `yaml:"pre_graceful_takeover"`
	PreFailover                    []string `yaml:"pre_failover"`
	PostTakeMaster                 []string `yaml:"post_take_master"`
	PostMasterFailover             []string `yaml:"post_master_failover"`
	PostIntermediateMasterFailover []string `yaml:"post_intermediate_master_failover"`
	PostFailover                   []string `yaml:"post_failover"`
	PostUnsuccessfulFailover       []string `yaml:"post_unsuccessful_failover"`
	PostGracefulTakeover           []string `yaml:"post_graceful_takeover"`
}

func (h *Hooks) defaults() { h.Timeout, h.Shell = hooks.DefaultTimeout, hooks.DefaultShell }

// moment is the commands of one moment, and their key.
type moment struct {
	moment   hooks.Moment
	key      string
	commands []string
}

func (h Hooks) moments() []moment {
	return []moment{
		{hooks.OnFailureDetection, "on_failure_detection", h.OnFailureDetection},
		{hooks.PreGracefulTakeover, "pre_graceful_takeover", h.PreGracefulTakeover},
		{hooks.PreFailover, "pre_failover", h.PreFailover},
		{hooks.PostTakeMaster, "post_take_master", h.PostTakeMaster},
		{hooks.PostMasterFailover, "post_master_failover", h.PostMasterFailover},
		{hooks.PostIntermediateMasterFailover, "post_intermediate_master_failover", h.PostIntermediateMasterFailover},
		{hooks.PostFailover, "post_failover", h.PostFailover},
		{hooks.PostUnsuccessfulFailover, "post_unsuccessful_failover", h.PostUnsuccessfulFailover},
		{hooks.PostGracefulTakeover, "post_graceful_takeover", h.PostGracefulTakeover},
	}
}

func (d *Document) checkHooks(h Hooks) error {
	if err := d.Positive("hooks.timeout", h.Timeout); err != nil {
		return err
	}
	if !strings.HasPrefix(h.Shell, "/") {
		return d.Errorf("hooks.shell", "is %q; give the whole path of a shell that knows -c, such as %s", clip(h.Shell), hooks.DefaultShell)
	}
	for _, m := range h.moments() {
		for i, command := range m.commands {
			if err := hooks.Check(command); err != nil {
				return d.Errorf(fmt.Sprintf("hooks.%s[%d]", m.key, i), "cannot be run: %w", err)
			}
		}
	}
	return nil
}

// HooksConfig returns how the operator's commands are run; lookup is the
// environment, of which they inherit little.
func (f *File) HooksConfig(lookup func(string) (string, bool)) hooks.Config {
	cfg := hooks.Config{
		Commands: map[hooks.Moment][]string{}, Timeout: f.Hooks.Timeout, Shell: f.Hooks.Shell, Now: time.Now,
		Environment: hooks.Inherit(lookup),
	}
	for _, m := range f.Hooks.moments() {
		if len(m.commands) > 0 {
			cfg.Commands[m.moment] = m.commands
		}
	}
	return cfg
}
