package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store/linear"
)

// group is several replicas around one log in memory, that has a leader at a time and loses the end of what was
// proposed with each. It is what a cluster promises its stores, without what makes it true.
type group struct {
	replicas []*groupReplica
	mu       sync.Mutex
	changed  *sync.Cond // of log and applied
	log      []record   // committed
	pending  []record   // the leader's
	last     uint64
	leader   int // -1: none
	closed   bool
}

type groupReplica struct {
	g       *group
	id      int
	store   *Store
	applied int    // how much of the log; guarded by g.mu
	version uint64 // of the last that was applied; guarded by g.mu
	epoch   atomic.Uint64
	behind  bool // it applies only now and then
}

func newGroup(t *testing.T, n int, o Options, mask uint64) *group {
	g := &group{last: fakeStart}
	g.changed = sync.NewCond(&g.mu)
	for i := range n {
		r := &groupReplica{g: g, id: i, behind: i%2 == 1}
		g.replicas = append(g.replicas, r)
		o.Journal, o.Proposes = r, true
		r.store = openTest(t, o, mask).Store
	}
	g.replicas[0].epoch.Store(1)
	return g
}

func (r *groupReplica) Expect() int64                              { return 0 }
func (r *groupReplica) Admit(int64) error                          { return nil }
func (r *groupReplica) Replay(_, _ func([]*Entry)) (uint64, error) { return 0, nil }
func (r *groupReplica) Outcome(epoch, _, _ uint64) error {
	if epoch != r.Epoch() {
		return ErrUnknown
	}
	return nil
}

func (r *groupReplica) Epoch() uint64 { return r.epoch.Load() }
func (r *groupReplica) Append(floor uint64, e []*Entry) (uint64, error) {
	g := r.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leader != r.id {
		return 0, &MovedError{}
	}
	g.last = max(g.last, floor) + 1
	x := record{g.last, e}
	g.pending = append(g.pending, record{g.last, x.copies()})
	return g.last, nil
}

func (r *groupReplica) Durable() uint64 {
	r.g.mu.Lock()
	defer r.g.mu.Unlock()
	return r.version
}

func (r *groupReplica) Wait(version uint64) error {
	g := r.g
	g.mu.Lock()
	defer g.mu.Unlock()
	for epoch := r.epoch.Load(); r.version < version; g.changed.Wait() {
		if g.closed || epoch%2 == 1 && epoch != r.epoch.Load() {
			return ErrUnknown
		}
	}
	return nil
}

// Begin is a round: what was committed when it was called is applied when it returns.
func (r *groupReplica) Begin(ReadMode) error {
	g := r.g
	g.mu.Lock()
	defer g.mu.Unlock()
	for index := len(g.log); r.applied < index && !g.closed; {
		g.changed.Wait()
	}
	return nil
}

func (r *groupReplica) Confirm() error {
	g := r.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leader != r.id {
		return ErrUnknown
	}
	return nil
}

// apply is a replica's goroutine.
func (r *groupReplica) apply(rng *rand.Rand) {
	g := r.g
	for {
		g.mu.Lock()
		for r.applied == len(g.log) && !g.closed {
			g.changed.Wait()
		}
		if g.closed {
			g.mu.Unlock()
			return
		}
		x := g.log[r.applied]
		g.mu.Unlock()
		for range rng.IntN(20) {
			if r.behind {
				runtime.Gosched()
			}
		}
		if err := r.store.Apply(x.version, x.copies()); err != nil {
			panic(err)
		}
		g.mu.Lock()
		r.applied++
		r.version = x.version
		g.changed.Broadcast()
		g.mu.Unlock()
	}
}

// mostChanges is how often the leader changes: what has no answer makes the search for an order long.
const mostChanges = 4

// run commits, and changes leaders now and then, until stop is closed.
func (g *group) run(stop chan struct{}, rng *rand.Rand) {
	var wg sync.WaitGroup
	for _, r := range g.replicas {
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() { r.apply(own) })
	}
	changes := 0
	for {
		select {
		case <-stop:
			g.mu.Lock()
			g.closed = true
			g.changed.Broadcast()
			g.mu.Unlock()
			wg.Wait()
			return
		default:
		}
		g.mu.Lock()
		n := min(len(g.pending), 1+rng.IntN(8))
		g.log, g.pending = append(g.log, g.pending[:n]...), g.pending[n:]
		g.changed.Broadcast()
		g.mu.Unlock()
		if changes < mostChanges && rng.IntN(500) == 0 {
			changes++
			g.depose(rng)
		}
		runtime.Gosched()
	}
}

// depose has another replica lead. Some of what was proposed is committed after all: the new leader has it.
func (g *group) depose(rng *rand.Rand) {
	g.mu.Lock()
	old := g.replicas[g.leader]
	g.leader = -1
	survive := rng.IntN(len(g.pending) + 1)
	kept := g.pending[:survive]
	g.pending = nil
	old.epoch.Add(1)
	g.changed.Broadcast()
	g.mu.Unlock()
	old.store.Abandon()
	g.mu.Lock()
	g.log = append(g.log, kept...)
	g.changed.Broadcast()
	next := g.replicas[rng.IntN(len(g.replicas))]
	for next.applied < len(g.log) { // C3: it opens when it has published all from before
		g.changed.Wait()
	}
	next.epoch.Add(1)
	g.leader = next.id
	g.mu.Unlock()
}

// groupClient sends each request to a replica: reads to any, writes to the one that leads. It makes a batch of them
// sometimes, as a connection does.
type groupClient struct {
	g        *group
	sessions []*Session
	rng      *rand.Rand
}

func (c *groupClient) Do(batch []linear.Request) []linear.Response {
	unknown := func() []linear.Response {
		all := make([]linear.Response, len(batch))
		for i := range all {
			all[i].Unknown = true
		}
		return all
	}
	writes := false
	for _, q := range batch {
		writes = writes || q.Kind != linear.Get && q.Kind != linear.MGet
	}
	for {
		at := c.rng.IntN(len(c.sessions))
		if writes {
			c.g.mu.Lock()
			at = c.g.leader
			c.g.mu.Unlock()
			if at < 0 {
				runtime.Gosched()
				continue
			}
		}
		s := c.sessions[at]
		var all []linear.Response
		moved := false
		for _, q := range batch {
			if q.Kind == linear.Get || q.Kind == linear.MGet {
				if s.Begin(ReadMode{}) != nil {
					return unknown()
				}
			}
			r, err := doLinear(s, q)
			if moved = errors.As(err, new(*MovedError)); moved {
				break
			}
			all = append(all, r)
		}
		err := s.Flush()
		switch {
		case moved && len(all) == 0:
			continue // nothing was applied
		case moved || err != nil:
			return unknown()
		}
		return all
	}
}

func (g *group) history(t *testing.T, requests int, seed uint64) error {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { g.run(stop, rand.New(rand.NewPCG(seed, 1))) })
	clients := 0
	history := linear.Run(linear.Options{Clients: 5, Requests: requests, Batch: 2, Seed: seed, Counters: true}, func() linear.Client {
		clients++
		c := &groupClient{g: g, rng: rand.New(rand.NewPCG(seed, uint64(clients)))}
		for _, r := range g.replicas {
			s := r.store.Session()
			t.Cleanup(s.Close)
			c.sessions = append(c.sessions, s)
		}
		return c
	})
	close(stop)
	wg.Wait()
	unknown := 0
	for _, op := range history {
		if op.Output.(linear.Response).Unknown {
			unknown++
		}
	}
	t.Logf("%d of %d requests have no answer", unknown, len(history))
	return linear.Check(history, 5*time.Minute)
}

// Whatever clients do side by side at several replicas, while leadership changes and proposals are lost, is explained
// by an order of their requests; and the replicas are alike at the end.
func TestReplicasAreLinearizable(t *testing.T) {
	for round := range soak(3, 200) {
		m := masks[round%len(masks)]
		t.Run(fmt.Sprintf("%d/%s", round, m.name), func(t *testing.T) {
			g := newGroup(t, 3, Options{History: round % 2}, m.mask)
			require.NoError(t, g.history(t, 250, uint64(round)))
			for _, r := range g.replicas {
				for _, x := range g.log[r.applied:] {
					require.NoError(t, r.store.Apply(x.version, x.copies()))
				}
				r.store.Abandon()
			}
			want := walkedAll(t, g.replicas[0].store)
			for _, r := range g.replicas[1:] {
				require.Equal(t, want, walkedAll(t, r.store))
			}
		})
	}
}

// walkedAll returns what a walk shows.
func walkedAll(t *testing.T, s *Store) map[string][]string {
	all := map[string][]string{}
	require.NoError(t, s.Walk(func(e *Entry) error {
		all[string(e.Key())] = append(all[string(e.Key())], fmt.Sprint(e.Version(), e.Deleted(), text(e)))
		return nil
	}))
	return all
}
