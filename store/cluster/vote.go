package cluster

import (
	"encoding/binary"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// The library's voters are those of the changes of the members that a node has published, not those that its log has.
// So nodes that don't know of the same changes that they are committed may wait for the votes of different ones, and
// refuse each other's for ever (https://github.com/etcd-io/etcd/issues/12359). So a request for a vote, and the answer
// to one, tell what their sender has published: who has that entry, too, then knows that it is committed, and becomes a
// voter of the same set, as in TiKV's https://github.com/tikv/raft-rs/pull/411. docs/replication.md has the argument.
//
// It is the context of such a message, which the library leaves empty but where leadership is handed over, and
// does not read otherwise: index and term, big-endian. A node that knows nothing of that ignores it.
const toldSize = 16

// isVote reports whether a message asks for a vote, or answers that.
func isVote(m *pb.Message) bool {
	switch m.GetType() {
	case pb.MsgPreVote, pb.MsgPreVoteResp, pb.MsgVote, pb.MsgVoteResp:
		return true
	}
	return false
}

// tellPublished adds to messages about votes the index up to which this node has published.
func (c *Core) tellPublished(send []*pb.Message) {
	for _, m := range send {
		if isVote(m) && len(m.GetContext()) == 0 {
			b := binary.BigEndian.AppendUint64(make([]byte, 0, toldSize), c.published)
			m.Context = binary.BigEndian.AppendUint64(b, c.publishedTerm)
		}
	}
}

// learnPublished takes the index that another node has published for committed, if this node has that entry, and knows
// of no leader that would tell it so.
//
// For the library that is an append without entries behind that entry, in this node's term, which no node has sent: the
// library itself looks whether its log has the entry, and ends its election, since the voters may be others now.
func (c *Core) learnPublished(m *pb.Message) {
	if !isVote(m) || len(m.GetContext()) != toldSize {
		return
	}
	index, term := binary.BigEndian.Uint64(m.GetContext()), binary.BigEndian.Uint64(m.GetContext()[8:])
	st := c.rn.BasicStatus()
	if st.Lead != raft.None || index <= st.HardState.GetCommit() {
		return
	}
	if have, err := c.log.Term(index); err != nil || have != term {
		return
	}
	err := c.rn.Step(&pb.Message{
		Type: pb.MsgApp.Enum(), To: new(c.id), Term: new(st.HardState.GetTerm()), Index: new(index), LogTerm: new(term), Commit: new(index),
	})
	if err != nil {
		c.logger.Debug("what another node has published was not taken for committed",
			"index", index, "from", idText(m.GetFrom()), "error", err)
		return
	}
	c.logger.Debug("what another node has published is committed", "index", index, "from", idText(m.GetFrom()))
}
