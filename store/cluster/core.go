package cluster

import (
	"fmt"
	"log/slog"
	"time"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// TickEvery is how often Core.Tick is to be called. A leader sends a heartbeat each tick; who has heard none for 10 to 20 of
// them stands for election; a leader that has not heard from a majority for 10 steps down.
const TickEvery = 50 * time.Millisecond

const (
	electionTicks = 10
	maxInFlight   = 4 << 20  // bytes of entries on the way to a member
	maxApplying   = 16 << 20 // bytes of entries handed out to be applied
)

// CoreOptions say what a Core is.
type CoreOptions struct {
	// ID is a random number of this node, which no other node has ever had. Not 0.
	ID uint64
	// Nonce is a random number that no other process of this node has had (C4).
	Nonce uint64
	// Group is the number of the group of replicas.
	Group uint32
	// Log is what is on disk. What a Core reads of it has been read into memory: the loop never waits for a disk (C11).
	Log raft.Storage
	// Base is where the state machine begins: the entry of the snapshot that it was loaded from, and the members then.
	Base Base
	// Whole is the index from which on the state is of one instant: some parts of a snapshot of a live store are as new
	// as this entry, others older.
	Whole uint64
	// Formats are the formats that this node reads; zero: those of this package.
	Formats Formats
	// Clock is a monotonic one. Only differences count.
	Clock func() time.Duration
	// Wake tells the caller's loop that Work has something new, from any goroutine. It does not wait.
	Wake func()
	// Logger gets what is worth telling. It does not wait (C11).
	Logger *slog.Logger
	// ReadTimeout is how long a linearizable read waits for its index; 0: 5 s.
	ReadTimeout time.Duration
}

// Core is one replica: consensus, the batches that are proposed and the rounds of reads, without goroutines, clock, disk and
// network of its own. One goroutine calls its methods; Proposals and Reads may be used by any.
//
// After calls of other methods, one or more, Work is called until it has nothing more. A panic of a Core is a broken
// invariant, or a log that has lost what it had: the process must end (C9).
type Core struct {
	Proposals *Proposals
	Reads     *Reads

	id, nonce   uint64
	group       uint32
	rn          *raft.RawNode
	log         raft.Storage
	clock       func() time.Duration
	logger      *slog.Logger
	readTimeout time.Duration

	term, leader uint64        // as of the last Work
	led          time.Duration // when there was a leader last; negative: this node was told that there is none
	leadTerm     uint64        // the term in which this node leads, 0: it does not
	opened       bool          // Append was opened in that term (C3)
	transferring bool          // proposals wait for the outcome

	published, publishedTerm uint64
	whole                    uint64
	state                    uint64        // of Reads, when the state was swapped last, odd; 0: it has been whole since
	conf                     *pb.ConfState // as of published
	members                  Members       // likewise; replaced, never changed
	format                   uint16        // of the cluster, likewise; 0: no member is known
	formats                  Formats       // that this node reads
	foreseen                 Members       // once all that was handed out is applied
	gone                     uint64        // what was published when a leader said that this node was removed, 0: none has. See removed
	changes                  uint64        // how often they have been replaced, and once for those that it began with
	changing                 uint64        // the newest change of the members in the log
	promotion                promotion
	heard                    map[uint64]time.Duration // when a member was heard of last
	ended                    map[uint64]bool          // whose process has ended, as far as is known, and who was not heard of since

	appends []*Append     // handed out, in order, and not yet done
	ahead   *pb.Message   // a snapshot that is taken in once nothing is being applied, nil: none
	out     []*pb.Message // to be sent with the next Work
	abandon uint64        // what the next Work says

	counts   Counts          // its own; the rest is the node's
	elected  uint64          // the newest term of which a leader is counted
	applying []time.Duration // when each Apply that is not yet done was handed out, the oldest first
	rounds   rounds
	askedOf  [2]uint64
	watch    watch
	stand    int // ticks until this node stands for election, since the leader has ended; 0: it has not
}

// NewCore returns the replica whose log and state these are.
func NewCore(o CoreOptions) (*Core, error) {
	c := &Core{
		id: o.ID, nonce: o.Nonce, group: o.Group, log: o.Log, clock: o.Clock, logger: o.Logger, readTimeout: o.ReadTimeout,
		published: o.Base.Index, publishedTerm: o.Base.Term, whole: o.Whole, members: o.Base.Members, format: o.Base.Format, formats: o.Formats.or(built), changes: 1, heard: map[uint64]time.Duration{}, ended: map[uint64]bool{},
		Proposals: &Proposals{wake: o.Wake, room: leastRoom},
		Reads:     &Reads{wake: o.Wake, clock: o.Clock},
	}
	if !c.Whole() {
		c.state = 1
		c.Reads.state.Store(1)
	}
	c.Reads.fresh.Store(-1)
	c.Reads.bounded.Store(-1)
	c.led = c.clock()
	if c.readTimeout == 0 {
		c.readTimeout = 5 * time.Second
	}
	_, conf, err := o.Log.InitialState()
	if err != nil {
		return nil, fmt.Errorf("read the log's state: %w", err)
	}
	c.conf = conf
	c.rn, err = raft.NewRawNode(&raft.Config{
		ID: o.ID, ElectionTick: electionTicks, HeartbeatTick: 1, Storage: coreLog{o.Log, c}, Applied: o.Base.Index,
		AsyncStorageWrites: true, CheckQuorum: true, PreVote: true, DisableProposalForwarding: true,
		MaxSizePerMsg: maxBatch, MaxInflightMsgs: 256, MaxInflightBytes: maxInFlight, MaxCommittedSizePerReady: maxApplying,
		MaxUncommittedEntriesSize: 4 * maxWindow,
		Logger:                    raftLogger{o.Logger},
	})
	if err != nil {
		return nil, fmt.Errorf("begin as a replica: %w", err)
	}
	c.term = c.rn.BasicStatus().HardState.GetTerm()
	if err := c.agree(); err != nil {
		return nil, err
	}
	return c, nil
}

// coreLog is the log as the library sees it. Its snapshot is always of what is published now: snapshots are streamed
// from the live state, and none is kept for other members.
type coreLog struct {
	raft.Storage
	c *Core
}

// Snapshot is part of raft.Storage.
func (l coreLog) Snapshot() (*pb.Snapshot, error) {
	// The log says that the entries which were asked for are being read from disk, or are gone.
	if _, err := l.Storage.Snapshot(); err != nil {
		return nil, err
	}
	if l.c.published == 0 || l.c.published < l.c.whole {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return &pb.Snapshot{Data: l.c.Place().encode(), Metadata: &pb.SnapshotMetadata{
		Index: new(l.c.published), Term: new(l.c.publishedTerm), ConfState: proto.Clone(l.c.conf).(*pb.ConfState),
	}}, nil
}

// Tick is called every TickEvery.
func (c *Core) Tick() {
	c.rn.Tick()
	c.rounds.ticked = true
	c.tickRounds()
	c.tickWatch()
	c.tickMembers()
	c.tickLead()
	c.tickDown()
}

// Step takes a message from another member. One that makes no sense is dropped. A MsgSnap is given only once the snapshot
// itself has been received and is durable.
func (c *Core) Step(m *pb.Message) {
	c.heard[m.GetFrom()] = c.clock()
	if len(c.ended) > 0 {
		delete(c.ended, m.GetFrom())
	}
	if m.GetType() == pb.MsgReadIndex && c.leadTerm != 0 {
		c.rounds.held = append(c.rounds.held, m)
		return
	}
	if c.comesEarly(m) {
		return
	}
	c.noteStanding(m)
	if err := c.rn.Step(m); err != nil {
		c.logger.Debug("a message of another member was dropped", "type", m.GetType(), "from", idText(m.GetFrom()), "error", err)
	}
	c.learnPublished(m)
}

// comesEarly reports whether a message is not for the library now: a snapshot while entries are being applied waits for
// them. The library would have the snapshot's voters at once, and after that would carry out the changes of the members
// among those entries once more, on voters that have them already: one who votes could become a learner again, for this
// node alone, whose majority would then be another than everybody's.
func (c *Core) comesEarly(m *pb.Message) bool {
	switch {
	case m.GetType() == pb.MsgSnap && len(c.applying) > 0:
		c.ahead = m
		return true
	case m.GetType() == pb.MsgApp && c.ahead != nil:
		// What is behind the snapshot would be refused, and the snapshot then sent again. It comes again itself.
		return m.GetIndex() >= c.ahead.GetSnapshot().GetMetadata().GetIndex()
	}
	return false
}

// takeAhead takes in the snapshot that has waited, once nothing is being applied.
func (c *Core) takeAhead() {
	m := c.ahead
	if m == nil || len(c.applying) > 0 {
		return
	}
	c.ahead = nil
	if err := c.rn.Step(m); err != nil {
		c.logger.Debug("a snapshot that had waited was dropped", "from", idText(m.GetFrom()), "error", err)
	}
}

// Unreachable says that messages to a member have been lost.
func (c *Core) Unreachable(id uint64) { c.rn.ReportUnreachable(id) }

// SnapshotSent says what became of the snapshot that a member needed.
func (c *Core) SnapshotSent(id uint64, ok bool) {
	status := raft.SnapshotFinish
	if !ok {
		status = raft.SnapshotFailure
	}
	c.rn.ReportSnapshot(id, status)
}

// Campaign has this node stand for election now.
func (c *Core) Campaign() error { return c.rn.Campaign() }

// Appended says that the oldest Append is done and, where it says so, durable (C8).
func (c *Core) Appended(a *Append) {
	a.done = true
	if a.Snapshot == nil {
		a.installed = true
	}
	c.respond()
}

// respond tells the library, and the other members, what is durable, in order. The state machine takes a snapshot in first.
func (c *Core) respond() {
	for len(c.appends) > 0 && c.appends[0].done && c.appends[0].installed {
		var a *Append
		a, c.appends = pop(c.appends)
		c.watch.since = c.clock()
		for _, m := range a.responses {
			if m.GetTo() == raft.None { // the answer to what nobody has sent: learnPublished
				continue
			}
			if m.GetTo() != c.id {
				c.out = append(c.out, m)
			} else if err := c.rn.Step(m); err != nil {
				c.logger.Debug("the log's answer was dropped", "error", err)
			}
		}
	}
}

// Swap is called, by any goroutine, before the state is replaced by a.Install: no read that is under way may be answered.
func (c *Core) Swap(a *Apply) {
	for {
		old := c.Reads.state.Load()
		if a.state = old + 1 + old%2; c.Reads.state.CompareAndSwap(old, a.state) {
			return
		}
	}
}

// Applied says that the oldest Apply is done.
func (c *Core) Applied(a *Apply) {
	c.applying = c.applying[1:]
	if a.install != nil {
		base, err := BaseOf(a.Install)
		if err == nil {
			c.published, c.publishedTerm, c.conf, c.members, c.format = base.Index, base.Term, base.Conf, base.Members, base.Format
			err = c.agree()
		}
		if err != nil {
			panic(fmt.Errorf("install a snapshot: %w", err))
		}
		c.changes++
		c.whole, c.state = max(c.whole, a.Whole), a.state
		a.install.installed = true
		c.respond()
	}
	if n := len(a.raw); n > 0 {
		c.changeMembers(a.raw)
		last := a.raw[n-1]
		c.published, c.publishedTerm = last.GetIndex(), last.GetTerm()
		if err := c.rn.Step(a.response); err != nil {
			c.logger.Debug("the state machine's answer was dropped", "error", err)
		}
		c.openIfPublished()
	}
	c.takeAhead()
	c.becomeWhole()
	c.settleRounds()
}

// becomeWhole lets reads be executed again once the state is one, unless it is being swapped again.
func (c *Core) becomeWhole() {
	if c.state != 0 && c.Whole() {
		c.Reads.state.CompareAndSwap(c.state, c.state+1)
		c.state = 0
	}
}

// changeMembers carries out what entries, which the state machine has applied, say about who the members are. With the
// voters it notes the entry that they are of: the next change may have the library ask for a snapshot.
func (c *Core) changeMembers(entries []*pb.Entry) {
	for _, e := range entries {
		if e.GetType() == pb.EntryNormal {
			continue
		}
		change := new(pb.ConfChangeV2) // the older form is never proposed
		err := proto.Unmarshal(e.GetData(), change)
		if e.GetType() != pb.EntryConfChangeV2 {
			err = errNoBatch
		}
		before := c.Place()
		if err == nil {
			c.conf = c.rn.ApplyConfChange(change)
			err = c.changed(change.GetContext())
			c.published, c.publishedTerm = e.GetIndex(), e.GetTerm()
		}
		if err != nil {
			panic(fmt.Errorf("entry %d of the log, a change of the members: %w", e.GetIndex(), err))
		}
		c.tellChange(before, e.GetIndex())
	}
}

// Published returns the index up to which the log has been applied.
func (c *Core) Published() uint64 { return c.published }

// Place returns the entry up to which the log has been applied, and who the members are as of that: what a snapshot
// begun now is of.
func (c *Core) Place() Base { return Base{c.published, c.publishedTerm, c.conf, c.members, c.format} }

// Whole reports whether the state is one: after a snapshot it is once what the snapshot's newest part shows is applied.
func (c *Core) Whole() bool { return c.published >= c.whole }

// Due returns when Work has something to do that no call announces, 0: never.
func (c *Core) Due() time.Duration {
	if !c.opened || c.transferring {
		return 0
	}
	return c.Proposals.due()
}
