package cluster

import (
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// Work is what the core wants done. The parts do not wait for each other.
type Work struct {
	// Send are messages to other members, which may be lost. One of type MsgSnap says that a member needs a snapshot of the
	// state; SnapshotSent tells what became of that.
	Send []*pb.Message
	// Append is for the log, nil: nothing is. Appends are done in order, and then told to Appended in order.
	Append *Append
	// Apply is for the state machine, nil: nothing is. Applies are done in order, and then told to Applied in order.
	Apply *Apply
}

// Empty reports whether there is nothing to do.
func (w *Work) Empty() bool { return len(w.Send) == 0 && w.Append == nil && w.Apply == nil }

// Append is what is to become durable in the log: first the snapshot's place, then the entries, which replace those of their
// indexes and behind, and the hard state.
type Append struct {
	Snapshot  *pb.Snapshot // nil: none. The log begins anew behind it
	Entries   []*pb.Entry
	HardState *pb.HardState // nil: as it was
	// Sync says that it must be durable before Appended is called.
	Sync bool

	done      bool
	installed bool // the state machine has taken in the snapshot, or there is none
	handed    bool // the snapshot was handed to the state machine
	responses []*pb.Message
}

// Apply is what the state machine is to do.
type Apply struct {
	// Abandon, if not 0, is a term in which this node led and leads no more: whatever it has proposed and not published
	// is forgotten, before anything else. What of that commits after all comes as anybody's.
	Abandon uint64
	// Install is a snapshot that has been received, whose place in the log is durable: it takes the place of all state.
	Install *pb.Snapshot
	// Whole is set by who installs: the index from which on the state is one. He has called Swap before.
	Whole uint64
	// Entries are published in order.
	Entries []Committed

	raw      []*pb.Entry
	response *pb.Message
	install  *Append
	state    uint64 // of Reads, after Swap
}

// Committed is an entry that is committed.
type Committed struct {
	Index, Term uint64
	// Batch is this node's own batch, which the payload was made from, nil: it is none in flight. It is resolved with Published.
	Batch *Batch
	// Payload is what was appended to the batch, nil: the entry is Raft's own.
	Payload []byte
}

// Published is called when the entry has been applied: whoever waits for the batch goes on.
func (e *Committed) Published() {
	if e.Batch != nil {
		e.Batch.resolve(nil)
	}
}

// Work returns what is to be done now.
func (c *Core) Work() Work {
	var w Work
	for w.Empty() {
		c.propose()
		c.beginRound()
		if !c.rn.HasReady() {
			break
		}
		c.ready(c.rn.Ready(), &w) // empty: only who leads has changed, which may let something begin
	}
	if w.Apply == nil {
		w.Apply = c.toInstall()
	}
	if c.abandon != 0 {
		if w.Apply == nil {
			w.Apply = &Apply{}
		}
		w.Apply.Abandon, c.abandon = c.abandon, 0
	}
	if w.Apply != nil {
		c.applying = append(c.applying, c.clock())
	}
	w.Send = append(w.Send, c.out...)
	c.out = nil
	c.tellPublished(w.Send)
	return w
}

// toInstall returns the oldest snapshot whose place in the log is durable, and which the state machine has not been given. The
// library hands out no entries meanwhile.
func (c *Core) toInstall() *Apply {
	for _, a := range c.appends {
		if !a.done {
			return nil
		}
		if !a.installed && !a.handed {
			a.handed = true
			return &Apply{Install: a.Snapshot, install: a}
		}
	}
	return nil
}

// ready sorts what the library wants done.
func (c *Core) ready(rd raft.Ready, w *Work) {
	if rd.SoftState != nil || !raft.IsEmptyHardState(rd.HardState) {
		c.noteLeader()
	}
	for _, rs := range rd.ReadStates {
		c.rounds.asking = max(0, c.rounds.asking-1)
		c.answered(rs.RequestCtx, rs.Index)
	}
	for _, m := range rd.Messages {
		switch m.GetTo() {
		case raft.LocalAppendThread:
			a := &Append{
				Snapshot: m.GetSnapshot(), Entries: m.GetEntries(), Sync: rd.MustSync || m.GetSnapshot() != nil,
				responses: m.GetResponses(),
			}
			if m.Term != nil { // all three fields are there, or none
				a.HardState = &pb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
			}
			if len(c.appends) == 0 {
				c.watch.since = c.clock()
			}
			c.noteChange(a.Entries)
			c.appends = append(c.appends, a)
			w.Append = a
		case raft.LocalApplyThread:
			w.Apply = c.apply(m)
			c.syncChanges(w)
		default:
			if m.GetType() == pb.MsgReadIndexResp {
				c.rounds.asking = max(0, c.rounds.asking-1)
			}
			if c.asks(m, w.Send) {
				w.Send = append(w.Send, m)
			}
		}
	}
	c.rounds.ticked = false
}

// syncChanges has it become durable that changes of the members are committed, which are about to be carried out: what
// else is committed is not synced for itself. A node that forgot it might need the vote of one that was removed, and
// that nobody has any more.
func (c *Core) syncChanges(w *Work) {
	for _, e := range w.Apply.raw {
		switch {
		case e.GetType() == pb.EntryNormal:
		case w.Append != nil:
			w.Append.Sync = true
			return
		default:
			w.Append = &Append{Sync: true}
			c.appends = append(c.appends, w.Append)
			if len(c.appends) == 1 {
				c.watch.since = c.clock()
			}
			return
		}
	}
}

// apply prepares committed entries for the state machine.
func (c *Core) apply(m *pb.Message) *Apply {
	if err := c.foresee(m.GetEntries()); err != nil {
		panic(err)
	}
	a := &Apply{raw: m.GetEntries(), response: m.GetResponses()[0], Entries: make([]Committed, 0, len(m.GetEntries()))}
	for _, e := range a.raw {
		x := Committed{Index: e.GetIndex(), Term: e.GetTerm()}
		if e.GetType() == pb.EntryNormal && len(e.GetData()) > 0 {
			id, payload, err := parseBatch(e.GetData(), c.group)
			if err != nil {
				panic(fmt.Errorf("entry %d: %w", e.GetIndex(), err))
			}
			x.Payload, x.Batch = payload, c.own(id, e.GetIndex())
		}
		a.Entries = append(a.Entries, x)
	}
	return a
}

// own returns the batch of this node's that is in flight with this id, nil: there is none (C4).
func (c *Core) own(id batchID, index uint64) *Batch {
	if id.node != c.id || id.nonce != c.nonce {
		return nil
	}
	b, skipped := c.Proposals.match(id, c.clock())
	if skipped {
		panic(fmt.Errorf("entry %d is batch %d of epoch %d, and the oldest in flight is another: C4 is broken",
			index, id.number, id.epoch))
	}
	return b
}
