package cluster

import "context"

// Status is where a Node stands in its cluster.
type Status struct {
	ID        uint64
	Term      uint64
	Leader    uint64 // 0: none is known
	Address   string // the leader's, for clients; empty: it is not known
	Leads     bool   // this node leads and takes writes
	Published uint64 // the index up to which the log has been applied
	Whole     bool   // the state is one
	Format    uint16 // the cluster's, 0: no member is known yet
	Removed   bool   // this node is no member any more, and leads no more
}

// Status returns where the node stands, as of its last step.
func (n *Node) Status() Status { return *n.status.Load() }

// Led waits until this node leads and takes writes, or knows at which address another does, or ctx ends.
func (n *Node) Led(ctx context.Context) {
	for {
		turned := *n.turned.Load()
		if s := n.Status(); s.Leads || s.Removed || s.Address != "" && s.Leader != s.ID {
			return
		}
		select {
		case <-turned:
		case <-n.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// noteStatus has Status show how the core is, and the transport know who the members are. Called with mu held.
func (n *Node) noteStatus() {
	if members := n.core.Members(); n.members != n.core.changes {
		n.members = n.core.changes
		n.transport.SetFormat(n.core.format)
		if len(members) > 0 { // a node that has just joined learns of the members with its first snapshot
			n.transport.SetMembers(members.Addresses())
		}
	}
	s := Status{
		ID: n.core.id, Term: n.core.term, Leader: n.core.leader, Leads: n.core.opened,
		Published: n.core.published, Whole: n.core.Whole(), Format: n.core.format, Address: n.core.members[n.core.leader].Client,
	}
	s.Removed = n.core.removed() && !s.Leads
	old := n.status.Load()
	if old == nil || *old != s {
		n.status.Store(&s)
	}
	if old != nil && (old.Leader != s.Leader || old.Leads != s.Leads || old.Address != s.Address) {
		close(*n.turned.Swap(new(make(chan struct{}))))
	}
}

// removed reports whether this node is no member any more. Either its log says so, or, since nobody sends that to who
// is none, a leader did: that counts as long as this node hears of no leader, and of nothing that is newer, for one
// that was deposed may not know yet who has joined.
func (c *Core) removed() bool {
	return c.members.without(c.id) || c.gone != 0 && c.gone == c.published && c.leader == 0
}
