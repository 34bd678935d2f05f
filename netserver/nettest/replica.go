package nettest

import (
	"sync"
	"testing"

	"kv/store"
)

// Replica is a store.Replica in memory, alone, which commits what it is asked to wait for: for tests of what a server
// does whose store is one of several alike. It leads until a write finds it Lost.
type Replica struct {
	mu      sync.Mutex // guards all below
	store   *store.Store
	last    uint64
	applied uint64
	pending []record
	epoch   uint64
	kept    uint64 // what of the epoch before was committed when it ended
	known   bool   // that nothing else of it ever will be

	Leader string // the address of another, which a replica that does not lead tells of
	Begun  []store.ReadMode
	Refuse error // what Begin answers
	Lost   bool  // the epoch ends before anything is committed
	Lose   *Loss // how leadership is lost when something is waited for next
	Last   bool  // the next write is the last that it takes; it is committed
}

// Loss is how leadership is lost while writes are under way.
type Loss struct {
	Survive int  // how many of them are committed all the same, from the oldest on
	Known   bool // it is known that the others never will be
	Leader  string
}

// Lead has the replica lead again.
func (r *Replica) Lead() {
	r.Set(func() { r.epoch += 1 - r.epoch%2 })
}

type record struct {
	version uint64
	entries []*store.Entry
}

// StartReplica starts a server whose store is one of several.
func StartReplica(t testing.TB, o Options) (*Server, *Replica) {
	t.Helper()
	r := &Replica{epoch: 1}
	o.Store.Journal, o.Store.Proposes = r, true
	s := Start(t, o)
	r.Set(func() { r.store = s.Store })
	return s, r
}

// Set changes what the replica does.
func (r *Replica) Set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// HandOver commits what there is, and has the server at this address lead from then on.
func (r *Replica) HandOver(leader string) {
	r.Set(func() {
		r.commit(r.last)
		r.kept, r.Leader = r.applied, leader
		r.epoch++
	})
}

// Expect is of store.Journal, as are the next five.
func (r *Replica) Expect() int64 { return 0 }

func (r *Replica) Admit(int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch%2 == 0 {
		return &store.MovedError{Leader: r.Leader}
	}
	return nil
}

func (r *Replica) Replay(_, _ func([]*store.Entry)) (uint64, error) { return 0, nil }

func (r *Replica) Append(floor uint64, entries []*store.Entry) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch%2 == 0 {
		return 0, &store.MovedError{Leader: r.Leader}
	}
	r.last = max(r.last, floor) + 1
	r.pending = append(r.pending, record{r.last, store.Clones(entries)})
	if r.Last {
		r.Last, r.kept = false, r.last
		r.epoch++
	}
	return r.last, nil
}

func (r *Replica) Durable() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applied
}

func (r *Replica) Wait(version uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Lost {
		r.epoch++
		return store.ErrUnknown
	}
	if l := r.Lose; l != nil {
		survive := r.applied
		if l.Survive > 0 {
			survive = r.pending[l.Survive-1].version
		}
		if err := r.commit(survive); err != nil {
			return err
		}
		r.pending, r.Lose = nil, nil
		r.kept, r.known, r.Leader = r.applied, l.Known, l.Leader
		r.epoch++
	}
	return r.commit(version)
}

// commit applies what there is up to this version. mu is held.
func (r *Replica) commit(version uint64) error {
	for r.applied < version {
		if len(r.pending) == 0 {
			return store.ErrUnknown
		}
		x := r.pending[0]
		r.pending = r.pending[1:]
		if err := r.store.Apply(x.version, x.entries); err != nil {
			return err
		}
		r.applied = x.version
	}
	return nil
}

// Begin is of store.Replica, as are the next two.
func (r *Replica) Begin(mode store.ReadMode) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Begun = append(r.Begun, mode)
	return r.Refuse
}

func (r *Replica) Confirm() error { return nil }

// Outcome is part of store.Replica.
func (r *Replica) Outcome(epoch, first, last uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case epoch == r.epoch || epoch == r.epoch-1 && last <= r.kept:
		return nil
	case epoch == r.epoch-1 && first > r.kept && r.known:
		return &store.MovedError{Leader: r.Leader}
	}
	return store.ErrUnknown
}

func (r *Replica) Epoch() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}
