package store

import (
	"sync"
	"sync/atomic"
)

// fakeReplica is a Replica in memory that does with its records what a test says.
type fakeReplica struct {
	mu      sync.Mutex
	store   *Store
	last    uint64
	applied uint64
	pending []record // appended and not applied
	log     []record // applied
	epoch   uint64
	auto    bool         // Wait applies what it waits for
	begun   atomic.Int64 // calls of Begin
	confirm func() error
	full    bool // Append refuses
	// admitting, if not nil, is called by Admit, first.
	admitting func()
}

func newFakeReplica() *fakeReplica {
	return &fakeReplica{last: fakeStart, applied: fakeStart, epoch: 1, auto: true}
}

func (r *fakeReplica) Expect() int64 { return 0 }

func (r *fakeReplica) Admit(int64) error {
	if r.admitting != nil {
		r.admitting()
	}
	if r.Epoch()%2 == 0 {
		return &MovedError{Leader: "another"}
	}
	return nil
}

func (r *fakeReplica) Replay(_, _ func([]*Entry)) (uint64, error) {
	return 0, nil
}

func (r *fakeReplica) Append(floor uint64, entries []*Entry) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch%2 == 0 {
		return 0, &MovedError{}
	}
	if r.full {
		return 0, errRefused
	}
	r.last = max(r.last, floor) + 1
	raw := record{r.last, entries}
	r.pending = append(r.pending, record{r.last, raw.copies()}) // as the log has them
	return r.last, nil
}

func (r *fakeReplica) Durable() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applied
}

func (r *fakeReplica) Wait(version uint64) error {
	for r.Durable() < version {
		if !r.auto || !r.commit() {
			return ErrUnknown
		}
	}
	return nil
}

func (r *fakeReplica) Begin(ReadMode) error { r.begun.Add(1); return nil }

func (r *fakeReplica) Confirm() error {
	if r.confirm != nil {
		return r.confirm()
	}
	return nil
}

func (r *fakeReplica) Outcome(epoch, _, _ uint64) error {
	if epoch != r.Epoch() {
		return ErrUnknown
	}
	return nil
}

func (r *fakeReplica) Epoch() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// commit applies the oldest record that is pending.
func (r *fakeReplica) commit() bool {
	r.mu.Lock()
	if len(r.pending) == 0 {
		r.mu.Unlock()
		return false
	}
	x := r.pending[0]
	r.pending = r.pending[1:]
	r.log = append(r.log, x)
	r.mu.Unlock()
	if err := r.store.Apply(x.version, x.copies()); err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = x.version
	return true
}

// depose ends the epoch. Of what is pending survive records commit after all.
func (r *fakeReplica) depose(survive int) {
	r.mu.Lock()
	r.epoch++
	lost := r.pending
	r.pending = nil
	r.mu.Unlock()
	r.store.Abandon()
	r.mu.Lock()
	r.pending = lost[:survive]
	r.mu.Unlock()
	for r.commit() {
	}
}

func (r *fakeReplica) lead() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch++
}

func openReplica(t fatal, o Options, mask uint64) (opened, *fakeReplica) {
	r := newFakeReplica()
	o.Journal, o.Proposes = r, true
	s := openTest(t, o, mask)
	r.store = s.Store
	return s, r
}
