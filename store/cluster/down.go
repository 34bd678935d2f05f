package cluster

import (
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// A leader that is silent may be slow, or not be reached, so the others wait for half a second and more before they
// elect another. One whose process has ended is known to: its connections end, and nothing listens where it was. Who
// has seen that forgets that it leads, so that he gives his vote to who asks for it; without, he would refuse it as
// long as he would wait himself. The library foresees that.
//
// It is a hint and no more: votes are given as ever, and who takes a living leader for dead hears of it with the next heartbeat.

const (
	// standAfter is after how many ticks the first of those who are left stands for election: in that time a leader
	// that lives is heard of.
	standAfter = 2
	// standApart is how many ticks later each further one does, so that they do not take each other's votes: longer
	// than an election takes.
	standApart = 4
)

// Down says that a member's process does not run. The member does not count as reachable until it is heard of again;
// and if it has led, the next leader is elected sooner.
func (c *Core) Down(id uint64) {
	if _, is := c.members[id]; is {
		c.ended[id] = true
	}
	voters := c.conf.GetVoters()
	if c.leadTerm != 0 || id != c.rn.BasicStatus().Lead || !slices.Contains(voters, c.id) {
		return
	}
	if err := c.rn.ForgetLeader(); err != nil {
		c.logger.Debug("a leader that has ended is not forgotten", "node", idText(id), "error", err)
		return
	}
	c.stand = standAfter
	for _, v := range voters {
		if v < c.id && v != id {
			c.stand += standApart
		}
	}
	c.logger.Info("the leader's process has ended", "node", idText(id))
}

// noteStanding is called with a request for a vote: where this node will give that, it stands against nobody, however
// long the disks take for it.
func (c *Core) noteStanding(m *pb.Message) {
	if c.stand == 0 || m.GetType() != pb.MsgPreVote && m.GetType() != pb.MsgVote {
		return
	}
	last, err := c.log.LastIndex()
	if err != nil {
		return
	}
	term, err := c.log.Term(last)
	if err == nil && (m.GetLogTerm() > term || m.GetLogTerm() == term && m.GetIndex() >= last) {
		c.stand = 0 // if the candidate does not win, the timeout for a silent leader is left
	}
}

// tickDown stands for election when it is this node's turn, and nobody leads.
func (c *Core) tickDown() {
	if c.stand == 0 {
		return
	}
	if c.rn.BasicStatus().Lead != raft.None {
		c.stand = 0
		return
	}
	if c.stand--; c.stand > 0 {
		return
	}
	if err := c.rn.Campaign(); err != nil {
		c.logger.Debug("this node does not stand for election", "error", err)
	}
}
