package cluster

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

const (
	// roundRetry is how long a round waits for its index before it asks again: messages are lost.
	roundRetry = time.Second
	// freshFor is how long rounds begin by themselves after the last bounded read.
	freshFor = 10 * time.Second
)

// ErrNoIndex is the error of a linearizable read for which no majority could be asked.
var ErrNoIndex = errors.New("no leader, or no majority, could be asked in time for what is newest: try again")

// ErrStale is the error of a read under a bound that this node can't hold.
var ErrStale = errors.New("this node can't tell that it is as new as was asked for")

// Reads is where readers wait for the log index that their reads have to include. One round serves all who wait: the leader
// tells its committed index after a majority has told it that it still leads. Whoever comes while a round is under way
// joins the next, for the index of the one under way may be older than a write that was answered since (C6).
type Reads struct {
	wake  func() // tells the loop that somebody waits; it does not wait
	clock func() time.Duration

	// fresh is when the last round began whose index has been published: the state of this node is at least as new as
	// what was committed then. Negative: no round has ended. The loop writes it, after publishing.
	fresh   atomic.Int64
	bounded atomic.Int64 // when a bounded read was asked last
	// state is even while what is published is a state, and odd from when a snapshot begins to take its place until the
	// newest part of that is published. It rises only. See State.
	state atomic.Uint64

	mu     sync.Mutex // guards next and closed, and reads of the next round
	next   *Round     // that the next to come joins; nil: nobody has
	closed error      // why no round will begin any more
}

// Round is one question for the index that linearizable reads need; the readers that joined it wait for its end.
type Round struct {
	joined time.Duration // when the first of them did
	reads  uint64        // how many did; with the lock of Reads
	began  time.Duration // when the index was asked for that counts: with the last ctx
	ctx    [24]byte      // of the last time it was asked for; no two are ever equal
	index  uint64        // 0: not known

	err  error // published by done
	done chan struct{}
}

// Done is closed when the reads of those who joined may be executed, or never can be.
func (r *Round) Done() <-chan struct{} { return r.done }

// Err says, once Done is closed, whether they may: nil, or ErrNoIndex.
func (r *Round) Err() error { return r.err }

func (r *Round) resolve(err error) {
	r.err = err
	close(r.done)
}

// Join returns the next round, which has not begun.
func (r *Reads) Join() *Round {
	r.mu.Lock()
	round := r.next
	if round == nil {
		round = &Round{joined: r.clock(), done: make(chan struct{})}
		if r.closed != nil {
			r.mu.Unlock()
			round.resolve(r.closed)
			return round
		}
		r.next = round
	}
	round.reads++
	r.mu.Unlock()
	r.wake()
	return round
}

// Fresh reports whether what is published now has all that was committed a time of bound ago. Where it does not, a caller
// joins a round, and reads if that ends within the bound.
func (r *Reads) Fresh(bound time.Duration) bool {
	now := r.clock()
	r.bounded.Store(int64(now))
	at := r.fresh.Load()
	return at >= 0 && now-time.Duration(at) <= bound && r.state.Load()%2 == 0
}

// State returns which state the reads that follow see, and false where they would see none: parts of a snapshot are
// newer than others, until the log has been applied beyond them. Whoever reads asks once he may read, and again when he
// has read: if it is another then, what he has seen is of two states, and is not to be answered.
func (r *Reads) State() (which uint64, whole bool) {
	which = r.state.Load()
	return which, which%2 == 0
}

// waiting reports whether somebody has joined the next round.
func (r *Reads) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next != nil
}

// take returns the next round, nil: nobody waits for it. Who comes from now on joins another.
func (r *Reads) take() *Round {
	r.mu.Lock()
	defer r.mu.Unlock()
	round := r.next
	r.next = nil
	return round
}

// rounds is what the loop knows of the rounds that have begun.
type rounds struct {
	asked   uint64   // how often an index was asked for
	current *Round   // whose index is being asked for
	pending []*Round // whose index is not published yet, in the order in which they began

	// Of a leader. It asks the others once for all questions that have come while it last did so.
	held   []*pb.Message // questions of other members
	asking int           // how many of its own and of others are with the library, which has not answered them
	ticked bool          // the next messages to others are those of a tick
}

// beginRound begins a round if one is due, or asks again for the one whose answer is lost.
func (c *Core) beginRound() {
	now := c.clock()
	busy := c.rounds.asking > 0
	if c.opened && !busy { // see canAsk
		for _, m := range c.rounds.held {
			c.rounds.asking++
			if err := c.rn.Step(m); err != nil {
				c.logger.Debug("a question of another member was dropped", "from", idText(m.GetFrom()), "error", err)
			}
		}
		c.rounds.held = nil
	}
	if c.rounds.current == nil {
		if !c.canAsk() || busy {
			return
		}
		c.rounds.current = c.Reads.take()
		if c.rounds.current == nil {
			return
		}
		c.counts.Rounds++
		c.counts.Reads += c.rounds.current.reads
		c.ask(now)
	} else if c.canAsk() && (now-c.rounds.current.began >= roundRetry || c.askedOf != c.askedNow()) {
		// It is lost, or who was asked leads no more.
		c.counts.Retries++
		c.ask(now)
	}
}

// canAsk reports whether there is somebody to ask. A leader that has not published its own term's first entry can't answer:
// the index that it knows of may be behind what its predecessor had committed. (The library holds a request back until that
// entry is committed, but not where there is a single voter.)
func (c *Core) canAsk() bool {
	if c.leadTerm != 0 {
		return c.opened
	}
	return c.leader != 0
}

// askedNow is who would be asked now.
func (c *Core) askedNow() [2]uint64 { return [2]uint64{c.leader, c.term} }

// ask asks for the index of the current round. A ctx is never used twice: an answer is then to this question, and began after
// it, whatever the network does.
func (c *Core) ask(now time.Duration) {
	r := c.rounds.current
	c.rounds.asked++
	binary.BigEndian.PutUint64(r.ctx[:], c.id)
	binary.BigEndian.PutUint64(r.ctx[8:], c.nonce)
	binary.BigEndian.PutUint64(r.ctx[16:], c.rounds.asked)
	r.began = now
	c.askedOf = c.askedNow()
	ctx := r.ctx // the library keeps it
	if c.leadTerm != 0 {
		c.rounds.asking++
	}
	c.rn.ReadIndex(ctx[:])
}

// asks reports whether a heartbeat is to be sent. One that asks whether this node still leads goes to no more members
// than make a majority with it: those that were heard of last. If none of them answers, those of the next tick, which
// go to all, ask it too, since each asks for all questions so far; so of those that go together to a member, the last
// one is enough.
func (c *Core) asks(m *pb.Message, sent []*pb.Message) bool {
	if m.GetType() != pb.MsgHeartbeat || len(m.GetContext()) == 0 || c.rounds.ticked {
		return true
	}
	if !slices.Contains(c.nearest(), m.GetTo()) {
		return false
	}
	for i, s := range sent {
		if s.GetType() == pb.MsgHeartbeat && s.GetTo() == m.GetTo() {
			sent[i] = m
			return false
		}
	}
	return true
}

// nearest returns as many of the other voters as make a majority with this node: those that were heard of last. While
// the members change, it is all.
func (c *Core) nearest() []uint64 {
	voters := c.conf.GetVoters()
	if len(c.conf.GetVotersOutgoing()) > 0 || !slices.Contains(voters, c.id) {
		return slices.Collect(maps.Keys(c.members))
	}
	others := slices.DeleteFunc(slices.Clone(voters), func(id uint64) bool { return id == c.id })
	slices.SortFunc(others, func(a, b uint64) int { return cmp.Compare(c.heard[b], c.heard[a]) })
	return others[:len(voters)/2]
}

// answered notes the index that was asked for with ctx.
func (c *Core) answered(ctx []byte, index uint64) {
	r := c.rounds.current
	if r == nil || string(ctx) != string(r.ctx[:]) {
		return // it was asked for again since
	}
	r.index = index
	c.rounds.current = nil
	c.rounds.pending = append(c.rounds.pending, r)
	c.settleRounds()
}

// settleRounds lets those go on whose index is published.
func (c *Core) settleRounds() {
	n := 0
	for _, r := range c.rounds.pending {
		if c.published < max(r.index, c.whole) {
			break // those behind it have an index that is no smaller
		}
		c.Reads.fresh.Store(int64(r.began))
		r.resolve(nil)
		n++
	}
	c.rounds.pending = c.rounds.pending[n:]
}

// tickRounds gives up those that have waited too long, and begins one by itself while bounded reads are asked.
func (c *Core) tickRounds() {
	now := c.clock()
	late := func(r *Round) bool { return r != nil && now-r.joined >= c.readTimeout }
	failed := func(r *Round) {
		c.counts.NoIndex++
		r.resolve(ErrNoIndex)
	}
	for len(c.rounds.pending) > 0 && late(c.rounds.pending[0]) {
		failed(c.rounds.pending[0])
		c.rounds.pending = c.rounds.pending[1:]
	}
	if late(c.rounds.current) {
		failed(c.rounds.current)
		c.rounds.current = nil
	}
	c.Reads.mu.Lock()
	next := c.Reads.next
	if late(next) {
		c.Reads.next = nil
	} else {
		next = nil
	}
	c.Reads.mu.Unlock()
	if next != nil {
		failed(next)
	}
	if at := c.Reads.bounded.Load(); at >= 0 && now-time.Duration(at) < freshFor && c.rounds.current == nil && !c.Reads.waiting() {
		c.Reads.Join()
	}
}

// closeReads fails all that wait, and all that come.
func (c *Core) closeReads(err error) {
	c.Reads.mu.Lock()
	c.Reads.closed = err
	c.Reads.mu.Unlock()
	for _, r := range append(c.rounds.pending, c.rounds.current, c.Reads.take()) {
		if r != nil {
			r.resolve(err)
		}
	}
	c.rounds.pending, c.rounds.current = nil, nil
}
