package cluster

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// stream sends a snapshot to the member that lacks it.
func (n *Node) stream(m *pb.Message) {
	began := time.Now()
	base, err := BaseOf(m.GetSnapshot())
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

// BaseOf returns what a snapshot in a message stands for: its index, term, configuration and members.
func BaseOf(s *pb.Snapshot) (Base, error) {
	meta := s.GetMetadata()
	b := Base{Index: meta.GetIndex(), Term: meta.GetTerm(), Conf: meta.GetConfState()}
	if len(s.GetData()) < 2 {
		return b, errBadMembers
	}
	b.Format = binary.BigEndian.Uint16(s.GetData())
	var err error
	b.Members, err = DecodeMembers(s.GetData()[2:])
	return b, err
}

// encode is what the data of a snapshot's message are.
func (b Base) encode() []byte {
	return append(binary.BigEndian.AppendUint16(nil, b.Format), b.Members.Encode()...)
}

// TakeIn takes in a snapshot that another member streams, and then has the core learn of it.
func (n *Node) TakeIn(m *pb.Message, r io.Reader) error {
	began := time.Now()
	base, err := BaseOf(m.GetSnapshot())
	if err == nil {
		err = n.core.formats.check(base.Format)
	}
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
