package cluster

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"kv/store"
)

// movePause is how long a node waits that is elsewhere than the others know before it tells them again.
const movePause = 200 * time.Millisecond

// aboutPause is how long a node waits that is where the others know before it looks again.
const aboutPause = time.Second

// beFound sees to it that the members know the addresses of this node, and the formats that it reads: while it did not
// run, the node may have moved, or its kvd been replaced. A node that was removed meanwhile learns of that here, since
// nobody sends it the log any more.
func (r *Replica) beFound(ctx context.Context, n *Node) {
	own := r.desk.Member
	said := ""
	for newest := false; ; {
		var leader string
		var all Members
		var here, gone, leads bool
		if !n.call(func(c *Core) {
			all = c.Members()
			gone = all.without(own.ID)
			m, ok := all[own.ID]
			here = gone || ok && m.is(own.as(c.Format())) // who is no member any more is nowhere
			leader, leads = r.desk.leader(c, r.peers), c.Leads()
			if leads && !here {
				here, _ = admit(c, r.peers, own, 0, true) // it is a member
			}
		}) {
			return
		}
		if here && newest {
			if !n.pause(ctx, aboutPause) { // a newer format has room for more
				return
			}
			continue
		}
		if newest = here && r.Begin(store.ReadMode{}) == nil; newest {
			continue // it knew as of what it had applied, and may have said something else since that
		}
		pause := movePause
		if !gone && !leads { // a node that knows of its removal does not join anew
			removed, err := r.tellLeader(ctx, own, leader, all)
			why := ""
			if refused := (*PeerError)(nil); errors.As(err, &refused) {
				why = refused.Detail
			}
			if removed {
				n.call(func(c *Core) { c.gone = c.published })
				pause = aboutPause
				why = "the node was removed from this cluster: stop it, remove its folder and start it again: it joins then, as another"
			}
			if why != "" && why != said {
				said = why
				r.o.Logger.Error("this node is not let in", "address", own.Peer, "error", why)
			}
		}
		if !n.pause(ctx, pause) {
			return
		}
	}
}

// tellLeader tells the leader the addresses of this node. Where this node does not know the leader, which looks for it at
// its former address, it is looked for. The leader may say that this node was removed.
func (r *Replica) tellLeader(ctx context.Context, own Member, leader string, all Members) (removed bool, err error) {
	if leader == "" {
		leader = r.findLeader(ctx, own, all)
	}
	if leader == "" {
		return false, nil
	}
	a, err := r.desk.ask(ctx, r.peers, leader, &own) // what else comes of it is looked at again
	return a.Removed, err
}

// findLeader asks all that may be members where the leader is, empty: none knows. Any of them may have moved: to where
// another was, this node too, or to where the peers are now. So who answers is noted with where it is.
func (r *Replica) findLeader(ctx context.Context, own Member, all Members) string {
	addresses := slices.Clone(r.desk.Peers)
	for _, m := range all {
		addresses = append(addresses, m.Peer)
	}
	slices.Sort(addresses)
	var leads, heard string // what who leads says of itself, and what others say of it
	for _, a := range r.desk.askEach(ctx, r.peers, slices.Compact(addresses)) {
		if a.err != nil || a.Self.Cluster != r.Log().Self().Cluster {
			continue
		}
		r.peers.seen(a.Self.Node, a.address)
		if a.Leader == a.Member.Peer {
			leads = a.Leader
		} else if a.Leader != own.Peer {
			heard = cmp.Or(a.Leader, heard)
		}
	}
	return cmp.Or(leads, heard)
}

// apartPause is how long a node that is alone in its cluster waits before it looks again whether its peers belong to another.
const apartPause = 10 * time.Second

// beware says where a node that is alone in its cluster has peers of another: both would take writes, or one is left
// over from before this one was recovered or restored.
func (r *Replica) beware(ctx context.Context, n *Node) {
	told := map[string]uint64{}
	for alone := true; ; {
		if !n.call(func(c *Core) { alone = len(c.Members()) == 1 }) || !alone {
			return
		}
		for _, a := range r.desk.askAll(ctx, r.peers) {
			if other := a.Self.Cluster; a.err == nil && other != 0 && other != r.Log().Self().Cluster && told[a.address] != other {
				told[a.address] = other
				r.o.Logger.Error("a peer belongs to another cluster than this node: stop the one whose data are to go, remove its folder and start it again: it joins the other then",
					"peer", a.address, "cluster", idText(r.Log().Self().Cluster), "its", idText(other))
			}
		}
		if !n.pause(ctx, apartPause) {
			return
		}
	}
}
