package cluster

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// noteLeader notes who leads, and in which term. A node that leads no more, or again in another term, closes Append at once and
// fails what is under way: nothing of that can be answered, though it may yet commit.
func (c *Core) noteLeader() {
	st := c.rn.BasicStatus()
	before := c.leader
	c.term, c.leader = st.HardState.GetTerm(), st.Lead
	c.Proposals.leader.Store(c.leader)
	if c.leader != 0 && c.term != c.elected { // a term has one leader at most
		c.elected = c.term
		c.counts.Elections++
	}
	leads := st.RaftState == raft.StateLeader
	if c.leadTerm != 0 && (!leads || c.leadTerm != c.term) {
		c.logger.Info("this node leads no more", "term", c.leadTerm)
		if c.Proposals.close() {
			c.abandon = c.leadTerm
		}
		c.leadTerm, c.opened, c.transferring = 0, false, false
		c.rounds.held, c.rounds.asking = nil, 0 // who asked asks again
	}
	switch {
	case c.leader == before || c.leader == 0 || leads:
	case c.members[c.leader].ID == 0: // one that joins knows of nobody yet
		c.logger.Info("another node leads", "node", idText(c.leader), "term", c.term)
	default:
		c.logger.Info("another node leads", "node", idText(c.leader), "address", c.members[c.leader].Peer, "term", c.term)
	}
	if leads && c.leadTerm == 0 {
		c.leadTerm = c.term
		c.logger.Info("this node leads", "term", c.term)
	}
}

// leaderless is how long there may be no leader before that is worth a line: longer than an election takes.
const leaderless = 3 * time.Second

// tickLead tells when no node has led for a while.
func (c *Core) tickLead() {
	now := c.clock()
	if c.leadTerm != 0 && len(c.conf.GetVoters()) > 0 && !slices.Contains(c.conf.GetVoters(), c.id) {
		c.Transfer(0) // this node is no voter any more; it leads until another does, so that the voters learn of the change
	}
	switch {
	case c.leader != 0:
		c.led = now
	case c.led >= 0 && now-c.led >= leaderless:
		c.led = -1 // once
		c.logger.Warn("no node leads, as far as this one knows: nothing is written, and nothing read that has to be up to date", "for", leaderless, "term", c.term)
	}
}

// openIfPublished opens Append once an entry of this node's own term is published (C3). Entries of a term come from its
// leader alone, so that all from before the term are published too: the newest parts of any snapshot among them, which
// had been committed.
func (c *Core) openIfPublished() {
	if c.leadTerm == 0 || c.opened || c.publishedTerm != c.leadTerm {
		return
	}
	// The library may have left leadership since the last Work.
	if st := c.rn.BasicStatus(); st.RaftState != raft.StateLeader || st.HardState.GetTerm() != c.leadTerm {
		return
	}
	c.opened = true
	c.Proposals.open()
}

// propose hands over the batch whose turn it is.
func (c *Core) propose() {
	if !c.opened {
		return
	}
	if c.transferring {
		if c.rn.BasicStatus().LeadTransferee != raft.None {
			return // the library would drop it
		}
		c.transferring = false
	}
	for {
		b := c.Proposals.take(c.clock())
		if b == nil {
			return
		}
		putBatchHeader(b.data, c.group, batchID{c.id, c.nonce, b.epoch, b.number})
		if err := c.rn.Propose(b.data); err != nil {
			c.Proposals.untake(b) // until this node leads no more, or can again
			c.counts.Dropped++
			return
		}
		c.counts.Batches++
		c.counts.Writes += uint64(b.records)
	}
}

// Leader returns who leads, 0: nobody that this node knows of.
func (c *Core) Leader() uint64 { return c.leader }

// Term returns the present term.
func (c *Core) Term() uint64 { return c.term }

// Leads reports whether this node leads and takes writes.
func (c *Core) Leads() bool { return c.opened }

// Transfer has another voter lead, 0: the most advanced of those that answer. Writes wait meanwhile, for half a second at most:
// if it has not taken over then, this node goes on. It reports whether there is a node to transfer to.
func (c *Core) Transfer(to uint64) bool {
	if c.leadTerm == 0 {
		return false
	}
	if to == 0 {
		if to = c.mostAdvanced(); to == 0 {
			return false
		}
	}
	c.rn.TransferLeader(to)
	c.transferring = c.rn.BasicStatus().LeadTransferee != raft.None
	return c.transferring
}

// mostAdvanced returns the voter that has most of the log, of those that have answered lately, 0: none has.
func (c *Core) mostAdvanced() (best uint64) {
	var match uint64
	c.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if id != c.id && typ == raft.ProgressTypePeer && pr.RecentActive && (best == 0 || pr.Match > match) {
			best, match = id, pr.Match
		}
	})
	return best
}
