package console

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"switchyard/controller/adminapi/wire"
	"switchyard/store/ledger"
)

// changeTime is how long a change may take that can still be taken back.
const changeTime = 5 * time.Minute

// ChangeControllers implements adminapi.Controllers. It begins the change; whoever
// leads carries it on.
func (c *Console) ChangeControllers(ctx context.Context, r wire.ControllersRequest) (wire.Done, error) {
	all, err := c.Controllers(ctx)
	if err != nil {
		return wire.Done{}, err
	}
	by := cmp.Or(r.By, nobody)
	out := wire.Done{Action: r.Change + "-controller", By: by, Changed: true}
	if open := all.Change; open != nil && open.Change == wire.AddController && r.Change == wire.RemoveController && open.ID == r.ID {
		out.Sentence = fmt.Sprintf("the adding of %s is taken back", r.ID)
		why := fmt.Sprintf("%s removed it again", by)
		if r.Reason != "" {
			why += ": " + r.Reason
		}
		return out, c.changed(c.cfg.Members.Undo(ctx, why))
	}
	if err := c.mayChange(all, r); err != nil {
		return wire.Done{}, err
	}
	now := c.cfg.Now()
	err = c.changed(c.cfg.Members.Change(ctx, ledger.BeginControllerChange{
		Change: ledger.ChangeKind(r.Change), By: by, Reason: r.Reason, At: now, Until: now.Add(changeTime),
		Controller: ledger.Controller{ID: r.ID, Raft: r.Raft, API: r.API, DataCenter: r.DataCenter, Voter: !r.Nonvoter},
	}))
	out.Sentence = begun(all, r)
	return out, err
}

// begun says what goes on now.
func begun(all wire.Controllers, r wire.ControllersRequest) string {
	voters, text := all.Voters, ""
	switch r.Change {
	case wire.AddController:
		text = fmt.Sprintf("%s is being added: it counts once it has caught up", r.ID)
		if r.Nonvoter {
			return fmt.Sprintf("%s is being added, without a vote", r.ID)
		}
		voters++
	case wire.RemoveController:
		text = fmt.Sprintf("%s is being removed: it is counted until no lease of its granting is left", r.ID)
		if part(all, r.ID) == wire.Voter {
			voters--
		}
	default:
		return fmt.Sprintf("%s is looked for at %s and %s from now on: once `switchyard controllers list` shows no change under way, restart it with these addresses", r.ID, r.Raft, r.API)
	}
	if voters%2 == 0 {
		text += fmt.Sprintf("; of %d voters no more may be lost than of %d: add or remove another one", voters, voters-1)
	}
	return text
}

func part(all wire.Controllers, id string) string {
	for _, one := range all.Controllers {
		if one.ID == id {
			return one.Role
		}
	}
	return wire.Stranger
}

// mayChange refuses what would leave too few that answer. What is wrong with the
// change itself, the ledger says.
func (c *Console) mayChange(all wire.Controllers, r wire.ControllersRequest) error {
	if open := c.underWay(); len(open) > 0 {
		return wire.NewError(wire.Conflict, fmt.Sprintf("%s is under way", strings.Join(open, ", ")), "wait for its end, then ask again")
	}
	if open := all.Change; open != nil {
		return wire.NewError(wire.Conflict, fmt.Sprintf("to %s controller %s is under way", open.Change, open.ID),
			"wait for its end (`switchyard controllers list`), then ask again")
	}
	answering, voters := 0, 0
	for _, one := range all.Controllers {
		if one.Role == wire.Voter && one.ID != r.ID {
			voters++
			if one.Reachable {
				answering++
			}
		}
	}
	switch {
	case part(all, r.ID) != wire.Voter:
	case r.Change == wire.RemoveController && voters > 0 && answering < majority(voters):
		return wire.NewError(wire.Conflict, fmt.Sprintf("without %s only %d of %d voters would answer, and %d must", r.ID, answering, voters,
			majority(voters)), "bring another one back first; where a majority is lost for good, restore a backup")
	case r.Change == wire.MoveController && r.ID == all.Leader:
		return wire.NewError(wire.Conflict, r.ID+" leads", "have another one lead first: switchyard controllers transfer-leader")
	case r.Change == wire.MoveController && answering < majority(voters+1):
		return wire.NewError(wire.Conflict, fmt.Sprintf("while %s moves only %d of %d voters would answer, and %d must", r.ID, answering,
			voters+1, majority(voters+1)), "bring another one back first")
	}
	return nil
}

// changed translates the store's answer.
func (c *Console) changed(err error) error {
	var rejection *ledger.Rejection
	if errors.As(err, &rejection) {
		return wire.NewError(wire.Conflict, rejection.Reason, "nothing was changed; see `switchyard controllers list`")
	}
	return told(err)
}

func majority(of int) int { return of/2 + 1 }
