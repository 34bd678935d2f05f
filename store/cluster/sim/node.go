package sim

import (
	"fmt"
	"strings"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/cluster"
)

// node is a process and the machine that it runs on.
type node struct {
	disk
	sim      *Sim
	id       uint64
	gone     bool // it was removed, and is no more
	belonged bool // it has been a member
	// reads are the formats that the node's program reads, said the widest range that the node has told others.
	reads, said cluster.Formats

	// The process, nil while it is down.
	core     *cluster.Core
	paused   bool // it is stopped, SIGSTOP
	log      *cluster.FileLog
	m        *machine
	appends  []*cluster.Append
	applies  []*cluster.Apply
	walk     *snapshot // of the own state, under way
	received map[uint64]*snapshot
	// committed is the newest index that the node has told others to be committed.
	committed uint64
	nextTick  time.Duration
	offset    time.Duration // of its clock
	opened    bool

	promised promises
}

// promises is what a node has told others to be on its disk.
type promises struct {
	term, vote  uint64
	index, last uint64 // the last entry, and its term; 0: none
}

func (n *node) up() bool { return n.core != nil && !n.paused }

func member(id uint64) cluster.Member {
	return cluster.Member{ID: id, Client: fmt.Sprintf("client-%d", id), Peer: fmt.Sprintf("peer-%d", id)}
}

// start starts the process. It finds what the disk has.
func (n *node) start() error {
	n.broken = nil
	s, err := n.newest()
	if err != nil {
		return err
	}
	n.durable = s.base
	n.replaceProgram()
	log, err := cluster.OpenLog(n.logOptions())
	if n.broken != nil {
		n.die()
		return nil
	}
	if err != nil {
		return fmt.Errorf("C8: node %d: %w", n.id, err)
	}
	if err := n.promised.check(log); err != nil {
		return fmt.Errorf("C8: node %d: %w", n.id, err)
	}
	n.log, n.m, n.received = log, newMachine(), map[uint64]*snapshot{}
	n.m.install(s)
	n.sim.nonce++
	n.core, err = cluster.NewCore(cluster.CoreOptions{
		ID: n.id, Nonce: n.sim.nonce, Formats: n.reads, Log: log, Base: s.base, Whole: s.whole,
		Clock: func() time.Duration { return n.sim.now + n.offset }, Wake: func() {}, Logger: n.sim.logger(n.id),
	})
	if n.refused(err) {
		n.die()
		return nil
	}
	if err != nil {
		return err
	}
	n.nextTick = n.sim.now + time.Duration(n.sim.rng.Int64N(int64(cluster.TickEvery)))
	return nil
}

// check looks in a log that was opened for what was promised.
func (p *promises) check(log *cluster.FileLog) error {
	hs, _, err := log.InitialState()
	if err != nil {
		return err
	}
	if hs.GetTerm() < p.term || hs.GetTerm() == p.term && p.vote != 0 && hs.GetVote() != p.vote {
		return fmt.Errorf("the node has voted for %d in term %d, and its log says %d in term %d",
			p.vote, p.term, hs.GetVote(), hs.GetTerm())
	}
	if p.index == 0 {
		return nil
	}
	switch term, err := log.Term(p.index); {
	case err == raft.ErrCompacted:
	case err != nil:
		return fmt.Errorf("the node has said that it has entry %d: %w", p.index, err)
	case term != p.last:
		return fmt.Errorf("the node has said that it has entry %d of term %d, and has one of term %d", p.index, p.last, term)
	}
	return nil
}

// die ends the process, and if the machine has lost power, what the disk had not synced.
func (n *node) die() {
	n.core, n.log, n.m, n.appends, n.applies, n.walk, n.opened, n.paused, n.committed = nil, nil, nil, nil, nil, nil, false, false, 0
	n.disk.ends(n.sim.rng)
	n.sim.lost(n)
	n.sim.ended(n)
}

// guard calls the core, and then has its work sorted. Where the core gives up for its disk, the process ends.
func (n *node) guard(f func(c *cluster.Core)) error {
	return n.tell(func(c *cluster.Core) error {
		f(c)
		return n.work()
	})
}

// tell calls f, which tells the core something; the work that follows from it is sorted later.
func (n *node) tell(f func(c *cluster.Core) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if strings.Contains(fmt.Sprint(p), "the disk has not answered") || n.refused(p) {
				n.die()
				return
			}
			err = fmt.Errorf("node %d: %v", n.id, p)
		}
	}()
	return f(n.core)
}

// work sorts what the core wants.
func (n *node) work() error {
	for {
		w := n.core.Work()
		if w.Empty() {
			break
		}
		if a := w.Append; a != nil {
			n.appends = append(n.appends, a)
		}
		if w.Apply != nil {
			n.applies = append(n.applies, w.Apply)
		}
		for _, m := range w.Send {
			if err := n.send(m); err != nil {
				return err
			}
		}
	}
	if leads := n.core.Leads(); leads != n.opened {
		if n.opened = leads; leads {
			return n.sim.ledger.leads(n.core.Term(), n.id)
		}
	}
	return nil
}

// send sends a message, and notes what it promises (C8).
func (n *node) send(m *pb.Message) error {
	hs, _, err := n.log.InitialState()
	if err != nil {
		return err
	}
	switch {
	case m.GetType() == pb.MsgAppResp && m.GetTerm() < hs.GetTerm():
		// A later term was saved in the same sync, and another leader's entries may have taken the place of these.
	case m.GetType() == pb.MsgAppResp && !m.GetReject():
		term, err := n.log.Term(m.GetIndex())
		if err == raft.ErrCompacted {
			break
		}
		if err != nil {
			return fmt.Errorf("C8: node %d says that it has entry %d: %w", n.id, m.GetIndex(), err)
		}
		if m.GetTerm() > hs.GetTerm() {
			return fmt.Errorf("C8: node %d answers in term %d, and has saved term %d", n.id, m.GetTerm(), hs.GetTerm())
		}
		if m.GetIndex() >= n.promised.index {
			n.promised.index, n.promised.last = m.GetIndex(), term
		}
		n.promise(hs)
	case m.GetType() == pb.MsgVoteResp && !m.GetReject():
		// It may have gone on to a later term in the same sync.
		if hs.GetTerm() < m.GetTerm() || hs.GetTerm() == m.GetTerm() && hs.GetVote() != m.GetTo() {
			return fmt.Errorf("C8: node %d votes for %d in term %d, and has saved %d in term %d",
				n.id, m.GetTo(), m.GetTerm(), hs.GetVote(), hs.GetTerm())
		}
		n.promise(hs)
	case m.GetType() == pb.MsgApp:
		n.committed = max(n.committed, m.GetCommit())
	case m.GetType() == pb.MsgSnap:
		return n.sim.stream(n, m)
	}
	n.sim.net.send(m)
	return nil
}

func (n *node) promise(hs *pb.HardState) {
	n.promised.term, n.promised.vote = hs.GetTerm(), hs.GetVote()
}

// save has the disk do some of what waits for it.
func (n *node) save() error {
	count := 1 + n.sim.rng.IntN(len(n.appends))
	batch := n.appends[:count]
	for _, a := range batch {
		if len(a.Entries) > 0 && a.Entries[0].GetIndex() <= n.promised.index {
			n.promised.index = 0 // another leader's take its place: it is promised no more
		}
	}
	if err := n.log.Save(batch); err != nil {
		if n.broken == nil {
			return fmt.Errorf("node %d: %w", n.id, err)
		}
		n.die()
		return nil
	}
	n.appends = n.appends[count:]
	for _, a := range batch {
		if err := n.guard(func(c *cluster.Core) { c.Appended(a) }); err != nil || n.core == nil {
			return err
		}
	}
	return nil
}

// apply has the state machine do the oldest of what waits for it.
func (n *node) apply() error {
	a := n.applies[0]
	n.applies = n.applies[1:]
	if a.Abandon != 0 {
		n.m.abandon(a.Abandon)
	}
	if a.Install != nil {
		s := n.received[a.Install.GetMetadata().GetIndex()]
		if s == nil {
			return fmt.Errorf("node %d is to install a snapshot that it has not received", n.id)
		}
		n.core.Swap(a)
		n.m.fate.Seal()
		n.m.install(s)
		a.Whole = s.whole
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if err := n.sim.ledger.applied(e.Index, e.Term, e.Payload); err != nil {
			return fmt.Errorf("node %d: %w", n.id, err)
		}
		if err := n.sim.own(n, e); err != nil {
			return err
		}
		n.m.fate.Before(e.Term)
		for _, w := range parseWrites(e.Payload) {
			if err := n.m.apply(e.Index, w); err != nil {
				return fmt.Errorf("node %d: %w", n.id, err)
			}
		}
		n.m.index = e.Index
		n.m.fate.Published(e.Term, n.m.published)
		e.Published()
		if n.m.index >= n.m.whole {
			if err := n.sim.ledger.state(n.m.index, n.m.state.sum()); err != nil {
				return fmt.Errorf("node %d: %w", n.id, err)
			}
		}
	}
	err := n.guard(func(c *cluster.Core) { c.Applied(a) })
	if err != nil || n.core == nil {
		return err
	}
	n.log.Applied(n.core.Published())
	if err := n.sim.format(n); err != nil {
		return err
	}
	return n.sim.ledger.belong(n.core.Place())
}

// snapshot begins a walk of the own state, or ends it, and then gives up log.
func (n *node) snapshot() error {
	if n.walk == nil {
		if n.core.Whole() && n.core.Place().Index > n.durable.Index {
			n.walk = &snapshot{base: n.core.Place(), state: state{}}
			n.walk.walk(n.m, 0, keys/2)
		}
		return nil
	}
	s := n.walk
	n.walk = nil
	if s.base.Index <= n.durable.Index { // one was received meanwhile
		return nil
	}
	s.walk(n.m, keys/2, keys)
	s.whole = n.m.index
	err := n.saveSnapshot(s)
	if err == nil {
		n.log.Snapshotted(s.base)
		err = n.log.Compact(s.base.Index-min(s.base.Index, uint64(n.sim.rng.IntN(20))),
			int64(n.sim.rng.IntN(3))*2000, n.core.Lacked())
	}
	if err != nil {
		if n.broken == nil {
			return err
		}
		n.die()
		return nil
	}
	if first, _ := n.log.FirstIndex(); first > n.durable.Index+1 {
		return fmt.Errorf("C12: node %d: the log begins with entry %d, and the snapshot ends with %d",
			n.id, first, n.durable.Index)
	}
	return nil
}

// receive takes a snapshot in.
func (n *node) receive(s *snapshot, m *pb.Message) error {
	if s.base.Index > n.durable.Index {
		if err := n.saveSnapshot(s); err != nil {
			if n.broken == nil {
				return err
			}
			n.die()
			return nil
		}
	}
	n.received[s.base.Index] = s
	return n.guard(func(c *cluster.Core) { c.Step(m) })
}
