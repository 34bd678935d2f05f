package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Remove has a member be none any more.
func (r *Replica) Remove(id uint64) error {
	return r.change(func(c *Core) error { return c.Remove(id) })
}

// transferWithin is how long a transfer of leadership may take.
const transferWithin = 2 * time.Second

// Transfer has a member lead, and waits for that, two seconds at most.
func (r *Replica) Transfer(id uint64) error {
	if err := r.change(func(c *Core) error { return c.canLead(id) }); err != nil {
		return err
	}
	n := r.node.Load()
	if id == n.Status().ID {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), transferWithin)
	defer cancel()
	if !r.handOver(ctx, n, id) {
		return fmt.Errorf("leadership can't be handed to node %d now", id)
	}
	return nil
}

// canLead says why a member can't lead, as far as the leader knows.
func (c *Core) canLead(id uint64) error {
	switch {
	case !c.opened:
		return &NotLeaderError{c.leader}
	case c.members[id].ID == 0:
		return noMember(id)
	case !slices.Contains(c.conf.GetVoters(), id):
		return wrongChange("node %d does not vote, and so can't lead: it will when it has caught up", id)
	}
	return nil
}

// Add has the node at an address join, which waits for that.
func (r *Replica) Add(ctx context.Context, address string) error {
	if r.node.Load() == nil {
		return errNotRunning
	}
	a, err := r.desk.ask(ctx, r.peers, address, nil)
	switch {
	case err != nil:
		return fmt.Errorf("there is no node that could join at %s: %w", address, err)
	case a.Self.Cluster == r.Log().Self().Cluster:
		return r.change(func(c *Core) error {
			if !c.opened {
				return &NotLeaderError{c.leader}
			}
			if _, is := c.Members()[a.Member.ID]; !is {
				return wrongChange("the node at %s was removed from this cluster: stop it, remove its folder and start it again: it joins then", address)
			}
			return nil // it has joined
		})
	case a.Self.Cluster != 0:
		return wrongChange("the node at %s belongs to another cluster, %d", address, a.Self.Cluster)
	}
	used, settled := r.room()
	return r.change(func(c *Core) error {
		_, err := admit(c, r.peers, a.Member, used, settled)
		return err
	})
}

// errNotRunning is the error of a change where there is nothing to change yet.
var errNotRunning = errors.New("this node belongs to no cluster yet, or just begins: its log says what it waits for")

// change has the loop do something to the cluster. Where this node does not lead, the error is a *store.MovedError.
func (r *Replica) change(f func(*Core) error) (err error) {
	n := r.node.Load()
	if n == nil {
		return errNotRunning
	}
	ctx, cancel := context.WithTimeout(context.Background(), ledWithin)
	defer cancel()
	if n.Led(ctx); !n.call(func(c *Core) { err = f(c) }) {
		return ErrStopped
	}
	if not := (*NotLeaderError)(nil); errors.As(err, &not) {
		if s := n.Status(); s.Removed && s.Address == "" {
			return errRemoved
		}
		return n.moved()
	}
	return err
}
