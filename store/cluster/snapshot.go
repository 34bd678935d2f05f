package cluster

import (
	"fmt"
	"io"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// stream sends a snapshot to the member that lacks it.
func (n *Node) stream(m *pb.Message) {
	began := time.Now()
	base, err := baseOf(m.GetSnapshot())
	if err == nil {
		pin := n.log.Pin(base.Index)
		defer pin.Release()
		n.logger.Info("a member gets a snapshot", "node", idText(m.GetTo()), "index", base.Index)
		err = n.transport.SendSnapshot(n.ctx, m, func(w io.Writer) error { return n.machine.Walk(base, w) })
	}
	if err != nil && n.ctx.Err() == nil {
		n.logger.Warn("a member could not be given a snapshot", "node", idText(m.GetTo()), "index", base.Index, "error", err)
	}
	n.sent.count(began, err)
	n.Call(func(c *Core) { c.SnapshotSent(m.GetTo(), err == nil) })
}

// baseOf is what a snapshot is of.
func baseOf(s *pb.Snapshot) (Base, error) {
	members, err := DecodeMembers(s.GetData())
	meta := s.GetMetadata()
	return Base{Index: meta.GetIndex(), Term: meta.GetTerm(), Conf: meta.GetConfState(), Members: members}, err
}

// TakeIn takes in a snapshot that another member streams, and then has the core learn of it.
func (n *Node) TakeIn(m *pb.Message, r io.Reader) error {
	began := time.Now()
	base, err := baseOf(m.GetSnapshot())
	if err == nil {
		err = n.machine.Receive(base, r)
	}
	n.taken.count(began, err)
	if err != nil {
		return fmt.Errorf("take in a snapshot of entry %d: %w", base.Index, err)
	}
	n.Receive(m)
	return nil
}
