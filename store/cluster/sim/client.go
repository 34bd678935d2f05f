package sim

import (
	"fmt"
	"slices"
	"time"

	"kv/store/cluster"
)

// request is what a client waits for. It does with a node what a session of the store does.
type request struct {
	n     *node
	floor uint64 // the ledger's, when it was asked

	// A write, or one that a condition on its key refused.
	op, key uint64
	w       write
	batch   *cluster.Batch
	epoch   uint64
	over    time.Duration // when it was seen first that the epoch is
	refused bool
	shown   uint64 // the version that the refusal tells

	round *cluster.Round // of a read, or of a refusal
	needs uint64         // NoRound: the index that a read waits for

	reading bool   // it has begun
	state   uint64 // which one it reads
	sees    uint64 // the index that its first key shows
}

// ask has a client ask something of a node.
func (s *Sim) ask(n *node) error {
	if s.busy(n) {
		return nil
	}
	r := &request{n: n, floor: s.ledger.floor}
	switch kind := s.rng.IntN(10); {
	case kind < 5: // a write
		r.epoch = n.core.Proposals.Epoch()
		s.op++
		r.op, r.key = s.op, uint64(s.rng.IntN(keys))
		var err error
		r.w, r.batch, err = n.m.propose(n.core.Proposals, r.op, r.key)
		if err != nil {
			return nil // it leads not, and nothing was applied: the ledger would see op s.op otherwise
		}
		s.batches[r.batch] = append(s.batches[r.batch], r.w)
	case kind < 6: // one that is refused
		r.epoch = n.core.Proposals.Epoch()
		if r.epoch%2 == 0 {
			return nil
		}
		r.refused, r.key = true, uint64(s.rng.IntN(keys))
		r.shown = n.m.current(r.key)
	case kind < 9 && s.Mutants.NoRound && n.core.Leads():
		r.needs = n.committed
		s.requests = append(s.requests, r)
	case kind < 9:
		r.round = n.core.Reads.Join()
	default:
		bound := time.Duration(s.rng.IntN(1000)) * time.Millisecond
		if n.core.Reads.Fresh(bound) {
			s.ledger.bounded++
			if floor := s.ledger.floorAt(s.now - bound - 1); n.m.index < floor || n.m.index < n.m.whole {
				return fmt.Errorf("C6: node %d: a read with a bound of %v sees entry %d, and not entry %d",
					n.id, bound, n.m.index, floor)
			}
		}
	}
	if r.batch != nil || r.refused || r.round != nil {
		s.requests = append(s.requests, r)
	}
	return n.guard(func(*cluster.Core) {})
}

// poll answers those who can be answered.
func (s *Sim) poll() error {
	for i := 0; i < len(s.requests); i++ {
		r := s.requests[i]
		if r.n.paused {
			continue
		}
		done, err := s.pollOne(r)
		if err != nil {
			return err
		}
		if done {
			s.requests = slices.Delete(s.requests, i, i+1)
			i--
		}
	}
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (s *Sim) pollOne(r *request) (done bool, err error) {
	p := r.n.core.Proposals
	if r.batch != nil || r.refused {
		if sameEpoch := p.Epoch() == r.epoch; !sameEpoch && !s.Mutants.NoEpoch {
			return s.deposed(r)
		}
	}
	switch {
	case r.batch != nil: // C5
		if r.n.m.published < r.w.version {
			return false, nil
		}
		s.ledger.writes++
		if closed(r.batch.Done()) && r.batch.Err() == nil {
			return true, s.ledger.answered(s.now, r.op)
		}
		return true, fmt.Errorf("C5: node %d: version %d is published, the epoch is the same, and batch is not done",
			r.n.id, r.w.version)
	case r.refused && r.round == nil: // C7
		if r.n.m.published >= r.shown {
			r.round = r.n.core.Reads.Join()
			return false, r.n.guard(func(*cluster.Core) {})
		}
		return false, nil
	case r.round == nil: // NoRound
		if r.n.m.index < r.needs {
			return false, nil
		}
	case !closed(r.round.Done()):
		return false, nil
	case r.round.Err() != nil:
		return true, nil
	case r.refused:
		s.ledger.conflicts++
		return true, s.ledger.showed(s.now, r.key, r.shown, r.floor)
	}
	return s.read(r)
}

// fateWithin is how long a write waits for what has become of it, once its node leads no more.
const fateWithin = 3 * time.Second

// deposed answers a write to a node that leads no more, or again, once it is known what has become of it (C5); or one
// that was refused, which is to be asked of another.
func (s *Sim) deposed(r *request) (done bool, err error) {
	outcome := cluster.Unknown
	if r.batch != nil {
		if outcome = r.n.m.fate.Of(r.epoch, r.w.version, r.w.version); outcome == cluster.Pending {
			if r.over == 0 {
				r.over = s.now
			}
			if s.now-r.over < fateWithin {
				return false, nil
			}
		}
	}
	switch outcome {
	case cluster.Applied:
		s.ledger.appliedLate++
		return true, s.ledger.answered(s.now, r.op)
	case cluster.NotApplied:
		return true, s.ledger.never(r.op)
	}
	s.ledger.unknown++
	return true, nil
}

// read executes a read of all keys, in two steps (C6).
func (s *Sim) read(r *request) (done bool, err error) {
	which, whole := r.n.core.Reads.State()
	switch {
	case !r.reading && !whole:
		r.round = r.n.core.Reads.Join() // it waits until there is a state
		return false, r.n.guard(func(*cluster.Core) {})
	case !r.reading:
		r.reading, r.state, r.sees = true, which, r.n.m.index
		if s.rng.IntN(2) == 0 {
			return false, nil // the rest comes later
		}
	}
	if which != r.state {
		s.ledger.unknown++
		return true, nil
	}
	s.ledger.reads++
	if r.sees < r.floor || r.sees < r.n.m.whole {
		return true, fmt.Errorf("C6: node %d: a read sees entry %d of a state that is one from %d on, and not entry %d",
			r.n.id, r.sees, r.n.m.whole, r.floor)
	}
	s.ledger.saw(s.now, r.n.m.index)
	return true, nil
}

// own compares a batch that is published from memory with what is in the log (C4).
func (s *Sim) own(n *node, e *cluster.Committed) error {
	if e.Batch == nil {
		return nil
	}
	if have := parseWrites(e.Payload); !slices.Equal(have, s.batches[e.Batch]) {
		return fmt.Errorf("C4: node %d: entry %d has %v, and is taken for the batch %v", n.id, e.Index, have, s.batches[e.Batch])
	}
	delete(s.batches, e.Batch)
	return nil
}

// lost forgets what was asked of a node that is no more.
func (s *Sim) lost(n *node) {
	s.requests = slices.DeleteFunc(s.requests, func(r *request) bool { return r.n == n })
}
