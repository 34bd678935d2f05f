package cluster

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// A learner becomes a voter once it has had, for promoteAfter, what was committed promoteLag before.
const (
	promoteLag   = time.Second
	promoteAfter = 3 * time.Second
)

// promotion is what a leader knows of its learners.
type promotion struct {
	commits []uint64                 // what was committed at each of the last ticks
	since   map[uint64]time.Duration // since when a learner has kept up
}

// tickMembers makes a voter of a learner that has kept up.
func (c *Core) tickMembers() {
	if !c.opened || len(c.conf.GetLearners()) == 0 {
		c.promotion = promotion{}
		return
	}
	p := &c.promotion
	if p.since == nil {
		p.since = map[uint64]time.Duration{}
	}
	p.commits = append(p.commits, c.published)
	if len(p.commits) <= int(promoteLag/TickEvery) {
		return
	}
	p.commits = p.commits[1:]
	now := c.clock()
	ready := uint64(0)
	c.rn.WithProgress(func(id uint64, typ raft.ProgressType, pr tracker.Progress) {
		if typ != raft.ProgressTypeLearner {
			return
		}
		since, ok := p.since[id]
		switch {
		case pr.Match < p.commits[0] || !c.Heard(id):
			delete(p.since, id)
		case !ok:
			p.since[id] = now
		case now-since >= promoteAfter:
			ready = id
		}
	})
	if ready != 0 && c.canChange() == nil {
		c.promote(ready)
	}
}

// promote proposes that a learner be a voter.
func (c *Core) promote(id uint64) {
	old := c.members[id].Replaces
	voters := slices.DeleteFunc(slices.Clone(c.conf.GetVoters()), func(v uint64) bool { return v == old })
	if c.reachable(append(voters, id)) != nil {
		return
	}
	changes := []*pb.ConfChangeSingle{{Type: pb.ConfChangeAddNode.Enum(), NodeId: new(id)}}
	switch {
	case old == c.id:
		c.Transfer(0)
		return
	case c.members[old].ID != 0:
		changes = append(changes, &pb.ConfChangeSingle{Type: pb.ConfChangeRemoveNode.Enum(), NodeId: new(old)})
	}
	c.logger.Info("a member has all data, and is to be a voter", "node", idText(id), "address", c.members[id].Peer)
	if err := c.proposeChange(&pb.ConfChangeV2{Changes: changes}); err != nil {
		c.logger.Info("a member can't be a voter for now", "node", idText(id), "error", err)
	}
}
