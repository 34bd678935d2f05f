package cluster

import (
	"cmp"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// View is the state of a cluster as one of its nodes sees it.
type View struct {
	Cluster, Node, Leader, Term, Committed, Published uint64
	Whole                                             bool
	Removed                                           bool          // this node is no member any more
	LogEnd                                            uint64        // the last entry that it has
	Applying                                          time.Duration // how long the oldest that is committed has waited to be published
	Syncing                                           time.Duration // how long the oldest that is to be durable has waited for the disk
	Counts                                            Counts
	Members                                           []MemberView // by id
}

// MemberView is a member in it.
type MemberView struct {
	Member
	Voter, Reachable bool
	Matched          uint64        // how much of the log it has, as the leader knows
	Behind           int64         // how many bytes of the leader's log it lacks, as the leader knows
	RoundTrip        time.Duration // between the member and this node; 0: not known
}

// Differ reports whether members were started with different settings, in a way that somebody should know of: another
// history, or less than nine tenths of the memory that another has.
func (v View) Differ() bool {
	all := Members{}
	for _, m := range v.Members {
		all[m.ID] = m.Member
	}
	return all.differ()
}

// View returns how the cluster is; false: this node does not run.
func (r *Replica) View() (v View, ok bool) {
	self := r.Log().Self()
	v.Cluster, v.Node = self.Cluster, self.Node
	n := r.node.Load()
	if n == nil {
		return v, false
	}
	if !n.call(func(c *Core) { c.view(&v) }) {
		return v, false
	}
	for i := range v.Members {
		m := &v.Members[i]
		there, took := r.peers.Reachable(m.ID)
		if m.RoundTrip = took; v.Leader != v.Node {
			m.Reachable = there || m.ID == v.Node
		} else {
			m.Behind = r.log.BytesBehind(m.Matched)
		}
	}
	v.Counts.Refused, v.Counts.Unknown = r.refused.Load(), r.unknown.Load()
	v.Counts.Sent, v.Counts.Taken = n.sent.load(), n.taken.load()
	return v, true
}

func (c *Core) view(v *View) {
	st := c.rn.BasicStatus()
	v.Leader, v.Term, v.Committed, v.Published, v.Whole = c.leader, c.term, st.HardState.GetCommit(), c.published, c.Whole()
	v.Removed = c.removed()
	v.LogEnd, _ = c.log.LastIndex() // it is in memory
	v.Counts = c.counts
	now := c.clock()
	if len(c.applying) > 0 {
		v.Applying = now - c.applying[0]
	}
	if len(c.appends) > 0 && !c.appends[0].done {
		v.Syncing = now - c.watch.since
	}
	matched := map[uint64]uint64{}
	if c.leadTerm != 0 {
		c.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) { matched[id] = pr.Match })
	}
	for id, m := range c.members {
		v.Members = append(v.Members, MemberView{
			Member: m, Voter: slices.Contains(c.conf.GetVoters(), id), Reachable: c.Heard(id), Matched: matched[id],
		})
	}
	slices.SortFunc(v.Members, func(a, b MemberView) int { return cmp.Compare(a.ID, b.ID) })
}
