package sim

import (
	cryptorand "crypto/rand"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/cluster"
)

// Options say what is simulated.
type Options struct {
	Seed  uint64
	Nodes int       // 0: 3 or 5, by the seed
	Steps int       // how many things happen before the faults are over
	Trace io.Writer // gets a line for each step; nil: nobody
	// Mutants break sessions in known ways, to see that the simulation notices.
	Mutants Mutants
}

// Mutants are ways to break a session.
type Mutants struct {
	NoEpoch bool // C5: it does not look at the epoch
	NoRound bool // C6: where the node leads, it reads without a round, once what was committed then is published
}

// Result says what has happened.
type Result struct {
	Steps                                      int
	Time                                       time.Duration // that has passed on the fake clock
	Entries                                    int           // of the log
	Writes, Reads, Bounded, Conflicts, Unknown int           // that were answered, or not
	Applied, NotApplied                        int           // writes whose node led no more, and of which it knew what had become of them
	Terms, Crashes, Failures, Snapshots, Cuts  int
	Joined, Removed, Hints, Rivals             int
	Format                                     uint16 // the newest that was written
	Sum                                        uint64 // of all that has happened
}

// Sim is a cluster.
type Sim struct {
	Options
	rng     *rand.Rand
	now     time.Duration
	net     *network
	nodes   []*node
	ledger  *ledger
	nonce   uint64
	op      uint64
	calm    bool
	faults  int // of a thousand things that happen
	streams []*transfer
	down    []uint64      // nodes whose processes have ended, which nobody has noticed yet
	struck  time.Duration // until then what has struck a leader lasts

	requests []*request
	batches  map[*cluster.Batch][]write
	result   Result
	trace    uint64
}

// transfer is a snapshot that is being streamed.
type transfer struct {
	from *node
	core *cluster.Core // of the process that sends
	m    *pb.Message
	s    *snapshot
	pin  *cluster.Pin
}

// Run simulates a cluster. An error says which invariant is broken. Only one may run at a time: the library takes
// chance from crypto/rand, which is the seed's meanwhile.
func Run(o Options) (Result, error) {
	seed := [32]byte{}
	for i := range 8 {
		seed[i] = byte(o.Seed >> (8 * i))
	}
	chance := cryptorand.Reader
	cryptorand.Reader = rand.NewChaCha8(seed)
	defer func() { cryptorand.Reader = chance }()

	s := &Sim{Options: o, rng: rand.New(rand.NewPCG(o.Seed, 7)), ledger: newLedger(), now: time.Hour,
		batches: map[*cluster.Batch][]write{}}
	s.net = &network{rng: s.rng, now: &s.now, cut: map[[2]uint64]bool{}}
	s.net.drop = []int{0, 5, 100}[s.rng.IntN(3)]
	s.net.double = []int{0, 20, 100}[s.rng.IntN(3)]
	s.net.delay = []time.Duration{time.Millisecond, 20 * time.Millisecond, 200 * time.Millisecond}[s.rng.IntN(3)]
	s.faults = []int{1, 3, 8}[s.rng.IntN(3)]
	if s.Nodes == 0 {
		s.Nodes = []int{3, 3, 5}[s.rng.IntN(3)]
	}
	err := s.run()
	if err != nil {
		err = fmt.Errorf("seed %d, step %d, %v: %w", o.Seed, s.result.Steps, s.now, err)
	}
	l := s.ledger
	s.result.Writes, s.result.Reads, s.result.Bounded, s.result.Conflicts, s.result.Unknown = l.writes, l.reads, l.bounded, l.conflicts, l.unknown
	s.result.Applied, s.result.NotApplied = l.appliedLate, l.notApplied
	s.result.Time, s.result.Entries, s.result.Terms, s.result.Sum = s.now-time.Hour, len(l.entries), len(l.leaders), s.trace
	return s.result, err
}

func (s *Sim) run() error {
	var voters []uint64
	for i := range s.Nodes {
		voters = append(voters, uint64(i+1))
	}
	for _, id := range voters {
		n := &node{sim: s, id: id, reads: onlyFirst, said: onlyFirst}
		s.nodes = append(s.nodes, n)
		if err := n.found(n.id, voters); err != nil {
			return err
		}
		if err := n.start(); err != nil {
			return err
		}
	}
	for s.result.Steps < s.Steps {
		s.result.Steps++
		if err := s.step(); err != nil {
			return err
		}
		if err := s.poll(); err != nil {
			return err
		}
	}
	return s.quiet()
}

// note adds to the sum of all that has happened, and to the trace.
func (s *Sim) note(what string, args ...any) {
	h := fnv.New64a()
	line := fmt.Sprintf("%d %v %s", s.result.Steps, s.now, fmt.Sprintf(what, args...))
	fmt.Fprint(h, s.trace, line)
	s.trace = h.Sum64()
	if s.Trace != nil {
		fmt.Fprintln(s.Trace, line)
	}
}

func (s *Sim) logger(id uint64) *slog.Logger {
	if s.Trace == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(s.Trace, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})).With("node", id)
}

// step has one thing happen.
func (s *Sim) step() error {
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	switch kind := s.rng.IntN(1000); {
	case kind < 350:
		return s.deliver()
	case kind < 500:
		if n.up() && len(n.appends) > 0 && n.frozen <= s.now {
			s.note("node %d saves", n.id)
			return n.save()
		}
	case kind < 650:
		if n.up() && len(n.applies) > 0 {
			s.note("node %d applies", n.id)
			return n.apply()
		}
	case kind < 820:
		return s.pass(time.Duration(1+s.rng.IntN(10)) * time.Millisecond)
	case kind < 950:
		if s.upgrades() && kind < 830 {
			return s.announce(n)
		}
		if n.up() {
			return s.ask(n)
		}
	case kind < 960:
		if n.up() && n.log.Wants() {
			return n.log.Fetch()
		}
	case kind < 975:
		if n.up() {
			return n.snapshot()
		}
	case kind < 985:
		return s.endStream()
	case kind < 985+s.faults:
		return s.fault(n)
	default:
		return s.mend(n)
	}
	return nil
}

// pass lets time pass.
func (s *Sim) pass(d time.Duration) error {
	s.now += d
	if err := s.notice(); err != nil {
		return err
	}
	for _, n := range s.nodes {
		if n.up() && n.nextTick <= s.now {
			n.nextTick += cluster.TickEvery
			if n.nextTick <= s.now { // it was stopped: ticks are not made up for
				n.nextTick = s.now + cluster.TickEvery
			}
			if err := n.guard(func(c *cluster.Core) { c.Tick() }); err != nil {
				return err
			}
		} else if n.up() {
			if at := n.core.Due(); at != 0 && at <= s.now+n.offset {
				if err := n.guard(func(*cluster.Core) {}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// deliver has a message arrive.
func (s *Sim) deliver() error {
	p, ok := s.net.take()
	if !ok {
		return nil
	}
	n := s.nodes[p.m.GetTo()-1]
	if n.paused && !s.calm {
		s.net.packets = append(s.net.packets, p) // it waits in the socket
		return nil
	}
	if !n.up() {
		return nil
	}
	s.note("node %d gets %v of %d, term %d index %d", n.id, p.m.GetType(), p.m.GetFrom(), p.m.GetTerm(), p.m.GetIndex())
	if p.snapshot != nil {
		return n.receive(p.snapshot, p.m)
	}
	if !s.calm && s.rng.IntN(3) == 0 { // there are more in the socket
		return n.tell(func(c *cluster.Core) error {
			c.Step(p.m)
			return nil
		})
	}
	return n.guard(func(c *cluster.Core) { c.Step(p.m) })
}

// stream begins to send a snapshot of the live state.
func (s *Sim) stream(n *node, m *pb.Message) error {
	base, err := cluster.BaseOf(m.GetSnapshot())
	if err != nil {
		panic(err)
	}
	t := &transfer{from: n, core: n.core, m: m, pin: n.log.Pin(base.Index), s: &snapshot{base: base, state: state{}}}
	t.s.walk(n.m, 0, keys/2)
	s.streams = append(s.streams, t)
	s.result.Snapshots++
	return s.ledger.belong(t.s.base)
}

// endStream ends the oldest stream, well or not.
func (s *Sim) endStream() error {
	if len(s.streams) == 0 {
		return nil
	}
	t := s.streams[0]
	if t.from.core == t.core && t.from.paused {
		return nil
	}
	s.streams = s.streams[1:]
	if t.from.core != t.core {
		return nil // the sender has ended
	}
	t.pin.Release()
	t.s.walk(t.from.m, keys/2, keys)
	t.s.whole = t.from.m.index
	to := s.nodes[t.m.GetTo()-1]
	ok := !s.net.cut[[2]uint64{t.from.id, to.id}] && to.up() && (s.calm || s.rng.IntN(5) > 0)
	if ok {
		s.net.packets = append(s.net.packets, packet{m: t.m, snapshot: t.s, at: s.now})
	}
	s.note("node %d has sent a snapshot to %d: %v", t.from.id, to.id, ok)
	return t.from.guard(func(c *cluster.Core) { c.SnapshotSent(to.id, ok) })
}

// mend has something go right again.
func (s *Sim) mend(n *node) error {
	switch {
	case s.now < s.struck && (n.paused || n.up()):
	case n.gone:
	case s.wasRemoved(n):
		s.note("node %d, which was removed, is destroyed", n.id)
		if n.gone = true; n.core != nil {
			n.die()
		}
	case n.core == nil:
		s.note("node %d starts", n.id)
		n.offset += time.Duration(s.rng.IntN(1e9)) // another boot, another clock
		return n.start()
	case n.paused:
		n.paused = false
		s.note("node %d goes on", n.id)
		return s.askAtOnce(n)
	case s.rng.IntN(4) == 0:
		clear(s.net.cut)
	}
	return nil
}

// fault has something go wrong.
func (s *Sim) fault(n *node) error {
	if !n.up() || s.rivals() && s.rng.IntN(2) == 0 && s.strikeLeader() {
		return nil
	}
	switch s.rng.IntN(12) {
	case 9, 10:
		return s.join()
	case 11:
		return s.remove()
	case 0:
		n.crashIn = int64(1 + s.rng.IntN(40))
		s.result.Crashes++
		s.note("node %d crashes in %d calls", n.id, n.crashIn)
	case 1:
		n.failIn = int64(1 + s.rng.IntN(100))
		s.result.Failures++
		s.note("node %d's disk fails in %d calls", n.id, n.failIn)
	case 2: // kill -9: what was written is there
		s.note("node %d is killed", n.id)
		n.broken = nil
		n.die()
	case 3:
		n.paused = true
		s.note("node %d is stopped", n.id)
	case 4:
		n.frozen = s.now + time.Duration(s.rng.IntN(4000))*time.Millisecond
		s.note("node %d's disk is frozen until %v", n.id, n.frozen)
	case 5, 6:
		s.cutLinks()
	default:
		s.note("node %d is to hand over", n.id)
		return n.guard(func(c *cluster.Core) { c.Transfer(0) })
	}
	return nil
}

// cutLinks cuts some links: one way, or a part of the nodes from the others.
func (s *Sim) cutLinks() {
	s.result.Cuts++
	if s.rng.IntN(2) == 0 {
		s.net.cut[[2]uint64{uint64(1 + s.rng.IntN(len(s.nodes))), uint64(1 + s.rng.IntN(len(s.nodes)))}] = true
		return
	}
	side := s.rng.IntN(1 << len(s.nodes))
	for a := range s.nodes {
		for b := range s.nodes {
			if side>>a&1 != side>>b&1 {
				s.net.cut[[2]uint64{uint64(a + 1), uint64(b + 1)}] = true
			}
		}
	}
}
