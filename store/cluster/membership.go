package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
)

// heardWithin is how lately a member must have been heard of to count as reachable, unless its process is known to have
// ended since.
const heardWithin = time.Second

var (
	// ErrChanging is the error of a change of the members while another is under way.
	ErrChanging = errors.New("the members are being changed: try again when that is done")
	// ErrLeads is the error of removing the node that leads: it hands over first.
	ErrLeads = errors.New("the node leads: leadership is to be transferred first")
)

// WrongChangeError says why a change of the members is none that this cluster can make: asked again, it would be refused again.
type WrongChangeError struct {
	err error
	// NoMember is set where the change names a member that does not exist.
	NoMember bool
}

func (e *WrongChangeError) Error() string { return e.err.Error() }
func (e *WrongChangeError) Unwrap() error { return e.err }

func wrongChange(format string, args ...any) error {
	return &WrongChangeError{err: fmt.Errorf(format, args...)}
}

func noMember(id uint64) error {
	return &WrongChangeError{fmt.Errorf("node %d is no member", id), true}
}

// AddLearner proposes a new member, which gets all data, and becomes a voter by itself once it has them, in the place
// of the one that it replaces, in one step. The error says why it is not proposed; whether it has succeeded, the
// members say.
func (c *Core) AddLearner(m Member) error {
	if err := c.canChange(); err != nil {
		return err
	}
	if err := m.Formats.check(c.format); err != nil {
		return &WrongChangeError{err: err}
	}
	if old, ok := c.members[m.ID]; ok {
		return wrongChange("node %d is a member already, at %s", m.ID, old.Peer)
	}
	if err := c.members.checkHistory(m.Settings); err != nil {
		return &WrongChangeError{err: err}
	}
	if _, ok := c.members[m.Replaces]; m.Replaces != 0 && !ok {
		return wrongChange("node %d, which it is to replace, is no member", m.Replaces)
	}
	for _, old := range c.members {
		if old.Peer == m.Peer && old.ID != m.Replaces { // a machine that has lost its disk comes back at its old place
			return wrongChange("node %d is at %s already: remove or replace it", old.ID, m.Peer)
		}
	}
	return c.change(m.as(c.format).append(nil), pb.ConfChangeAddLearnerNode, m.ID)
}

// Move proposes that a member is reached at other addresses than so far, or reads other formats, or was started with
// other settings. Where another member is said to be at that address, left reports whether that one is known to have left
// it; nil: of nobody. It has m's former addresses then, until it says itself where it is: no two are at one address, and
// two that have changed places are where they are.
func (c *Core) Move(m Member, left func(other Member) bool) error {
	if err := c.canChange(); err != nil {
		return err
	}
	if err := m.Formats.check(c.format); err != nil {
		return &WrongChangeError{err: err}
	}
	old, ok := c.members[m.ID]
	if !ok {
		return noMember(m.ID)
	}
	m.Replaces = old.Replaces
	moved := Members{m.ID: m}
	for _, other := range c.members {
		if other.Peer != m.Peer || other.ID == m.ID || other.ID == old.Replaces {
			continue
		}
		if left == nil || !left(other) {
			return wrongChange("node %d is at %s already: remove or replace it", other.ID, m.Peer)
		}
		other.Client, other.Peer = old.Client, old.Peer
		moved[other.ID] = other
	}
	as := pb.ConfChangeAddLearnerNode // what it is already: only the table changes
	if slices.Contains(c.conf.GetVoters(), m.ID) {
		as = pb.ConfChangeAddNode
	}
	return c.change(moved.as(c.format).Encode(), as, m.ID)
}

// Remove proposes that a node be no member any more.
func (c *Core) Remove(id uint64) error {
	if err := c.canChange(); err != nil {
		return err
	}
	if _, ok := c.members[id]; !ok {
		return noMember(id)
	}
	if id == c.id {
		return ErrLeads
	}
	rest := slices.DeleteFunc(slices.Clone(c.conf.GetVoters()), func(v uint64) bool { return v == id })
	if err := c.reachable(rest); err != nil {
		return err
	}
	return c.change(nil, pb.ConfChangeRemoveNode, id)
}

// change proposes one change. What it adds to the table of the members is its context.
func (c *Core) change(context []byte, what pb.ConfChangeType, id uint64) error {
	return c.proposeChange(&pb.ConfChangeV2{Context: context,
		Changes: []*pb.ConfChangeSingle{{Type: what.Enum(), NodeId: new(id)}}})
}

func (c *Core) proposeChange(change *pb.ConfChangeV2) error {
	if err := c.rn.ProposeConfChange(change); err != nil {
		return fmt.Errorf("the change of the members was not taken: %w", err)
	}
	c.changing = max(c.changing, c.published+1) // until noteChange knows better
	return nil
}

// canChange says why no change can be proposed now. One at a time: the next is checked against what the last has left.
func (c *Core) canChange() error {
	switch {
	case !c.opened:
		return &NotLeaderError{c.leader}
	case c.transferring, c.changing > c.published, len(c.conf.GetVotersOutgoing()) > 0:
		return ErrChanging
	}
	// Else it would wait in the log, and take effect whenever they are back.
	if voters := c.conf.GetVoters(); c.there(voters) <= len(voters)/2 {
		return fmt.Errorf("only %d of %d voters are reached: no majority, so nothing can be changed",
			c.there(voters), len(voters))
	}
	return nil
}

// reachable says whether enough of these voters are heard of: with a majority that is not there, nothing would go on
// any more, and the change could not be undone.
func (c *Core) reachable(voters []uint64) error {
	if len(voters) == 0 {
		return errors.New("no voter would be left")
	}
	if there := c.there(voters); there <= len(voters)/2 {
		return fmt.Errorf("only %d of the %d voters that there would be are reached: no majority, and nothing could be written any more", there, len(voters))
	}
	return nil
}

// there returns how many of these are heard of.
func (c *Core) there(voters []uint64) (n int) {
	for _, id := range voters {
		if c.Heard(id) {
			n++
		}
	}
	return n
}

// Heard reports whether a member has been heard of lately: by the leader, of all; by others, of the leader.
func (c *Core) Heard(id uint64) bool {
	at, ok := c.heard[id]
	return id == c.id || ok && c.clock()-at <= heardWithin && !c.ended[id]
}

// lately is how long ago a member may have been heard of last for the log to be retained for it. One that is away for
// longer has what is retained for anybody.
const lately = time.Minute

// Lacked returns the entry behind which the log has what members lack that were heard of lately. Only the leader knows:
// others return what is published.
func (c *Core) Lacked() uint64 {
	lacked := c.published
	if c.leadTerm == 0 {
		return lacked
	}
	c.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if at, ok := c.heard[id]; id == c.id || !ok || c.clock()-at > lately {
			return
		}
		switch pr.State {
		case tracker.StateSnapshot: // what it needs is behind that
			lacked = min(lacked, pr.PendingSnapshot)
		case tracker.StateProbe: // it may have been sent one
			lacked = min(lacked, pr.Next-1)
		default:
			lacked = min(lacked, pr.Match)
		}
	})
	return lacked
}

// Members returns who the members are, as of what is published. It is not to be changed.
func (c *Core) Members() Members { return c.members }

// noteChange notes that a change is in the log.
func (c *Core) noteChange(entries []*pb.Entry) {
	for _, e := range entries {
		if e.GetType() != pb.EntryNormal {
			c.changing = e.GetIndex()
		}
	}
}

// changed brings the table of the members up to date with a change, after it has been applied.
func (c *Core) changed(context []byte) error {
	added, err := DecodeMembers(context)
	if err != nil {
		return err
	}
	members := maps.Clone(c.members)
	maps.Copy(members, added)
	in := map[uint64]bool{}
	for _, set := range [][]uint64{c.conf.GetVoters(), c.conf.GetLearners(), c.conf.GetVotersOutgoing(),
		c.conf.GetLearnersNext()} {
		for _, id := range set {
			in[id] = true
		}
	}
	maps.DeleteFunc(members, func(id uint64, _ Member) bool { return !in[id] })
	c.members = members
	maps.DeleteFunc(c.ended, func(id uint64, _ bool) bool { return !in[id] })
	c.changes++
	return c.agree()
}

// tellChange tells what has become of whom with a change of the members.
func (c *Core) tellChange(before Base, index uint64) {
	tell := func(what string, m Member) {
		c.logger.Info(what, "node", idText(m.ID), "address", m.Peer, "index", index, "voters", len(c.conf.GetVoters()))
	}
	for id, m := range c.members {
		_, was := before.Members[id]
		votes, voted := slices.Contains(c.conf.GetVoters(), id), slices.Contains(before.Conf.GetVoters(), id)
		switch {
		case votes && !voted:
			tell("a member has become a voter", m)
		case !was:
			tell("a member has joined, and gets the data", m)
		}
	}
	for id, m := range before.Members {
		if _, is := c.members[id]; is {
			continue
		}
		if tell("a member has been removed", m); id == c.id {
			c.logger.Warn("this node is no member of its cluster any more: stop it, and remove its folder before it joins again", "node", idText(id))
		}
	}
}
