package nettest

import (
	"sync"
	"testing"

	"kv/store"
)

// Replica is a store.Replica in memory, alone, which commits what it is asked to wait for: for tests of what a server does whose store is one of
// several alike. It leads until a write finds it Lost.
type Replica struct {
	mu      sync.Mutex // guards all below
	store   *store.Store
	last    uint64
	applied uint64
	pending []record
	epoch   uint64

	Leader string // the address of another, which a replica that does not lead tells of
	Begun  []store.ReadMode
	Refuse error // what Begin answers
	Lost   bool  // the epoch ends before anything is committed
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
	r.last = max(r.last, floor) + 1
	r.pending = append(r.pending, record{r.last, store.Kept(entries)})
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
	for r.applied < version {
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

// Kept is part of store.Replica.
func (r *Replica) Kept(epoch, _ uint64) bool { return epoch == r.Epoch() }

func (r *Replica) Epoch() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}
