package sim

import (
	"fmt"
	"time"

	"kv/store/cluster"
)

// ledger is what a cluster has answered and applied, and what it therefore owes from now on.
type ledger struct {
	entries map[uint64]string   // by index: what whoever applied it first found there
	sums    map[uint64]uint64   // by index: the sum of the state up to there
	members map[uint64]string   // by index: who the members are, and who votes, up to there
	ops     map[uint64]uint64   // by op: the index that it is in
	history [keys][]occurrence  // of each key, in order of the log
	leaders map[uint64]uint64   // by term
	acked   map[uint64]struct{} // ops that were answered
	moved   map[uint64]struct{} // ops that were answered: they were not applied, and never will be

	// floor is the least index that whoever asks from now on must see: of what was answered, or shown.
	floor  uint64
	floors []floorAt // when it rose

	writes, appliedLate, notApplied, reads, bounded, conflicts, unknown int
}

type occurrence struct{ index, version uint64 }

type floorAt struct {
	at    time.Duration
	floor uint64
}

func newLedger() *ledger {
	return &ledger{
		entries: map[uint64]string{}, sums: map[uint64]uint64{}, members: map[uint64]string{}, ops: map[uint64]uint64{}, leaders: map[uint64]uint64{},
		acked: map[uint64]struct{}{}, moved: map[uint64]struct{}{},
	}
}

// applied notes that an index was applied with this content.
func (l *ledger) applied(index, term uint64, payload []byte) error {
	entry := fmt.Sprintf("%d %x", term, payload)
	if first, ok := l.entries[index]; ok {
		if first != entry {
			return fmt.Errorf("C1: entry %d is %s on one node and %s on another", index, first, entry)
		}
		return nil
	}
	if _, ok := l.entries[index-1]; !ok && index > 2 {
		return fmt.Errorf("C1: entry %d is applied first", index)
	}
	l.entries[index] = entry
	for _, w := range parseWrites(payload) {
		if other, ok := l.ops[w.op]; ok {
			return fmt.Errorf("C1: op %d is in entries %d and %d", w.op, other, index)
		}
		if _, ok := l.moved[w.op]; ok {
			return fmt.Errorf("C5: op %d is in entry %d, and was said not to have been applied", w.op, index)
		}
		l.ops[w.op] = index
		l.history[w.key] = append(l.history[w.key], occurrence{index, w.version})
	}
	return nil
}

// state notes the content of a whole state up to an index.
func (l *ledger) state(index, sum uint64) error {
	if first, ok := l.sums[index]; ok && first != sum {
		return fmt.Errorf("C10: two states up to entry %d differ", index)
	}
	l.sums[index] = sum
	return nil
}

// belong notes who the members are, and who votes, as a node has it that has published up to an index.
func (l *ledger) belong(at cluster.Base) error {
	c := at.Conf
	members := fmt.Sprintf("voters %v and %v, learners %v and %v, leaves %v, of %x, format %d",
		c.GetVoters(), c.GetVotersOutgoing(), c.GetLearners(), c.GetLearnersNext(), c.GetAutoLeave(), at.Members.Encode(), at.Format)
	if first, ok := l.members[at.Index]; ok && first != members {
		return fmt.Errorf("C10: up to entry %d one node has the %s; another the %s", at.Index, first, members)
	}
	l.members[at.Index] = members
	return nil
}

// saw notes that somebody was shown what is up to an index.
func (l *ledger) saw(now time.Duration, index uint64) {
	if index > l.floor {
		l.floor = index
		l.floors = append(l.floors, floorAt{now, index})
	}
}

// floorAt returns what the floor was at a time.
func (l *ledger) floorAt(at time.Duration) uint64 {
	for i := len(l.floors) - 1; i >= 0; i-- {
		if l.floors[i].at <= at {
			return l.floors[i].floor
		}
	}
	return 0
}

// answered notes that a write was answered.
func (l *ledger) answered(now time.Duration, op uint64) error {
	index, ok := l.ops[op]
	if !ok {
		return fmt.Errorf("C5: op %d was answered, and is not in the log", op)
	}
	l.acked[op] = struct{}{}
	l.saw(now, index)
	return nil
}

// never notes that a write was said not to have been applied.
func (l *ledger) never(op uint64) error {
	if index, ok := l.ops[op]; ok {
		return fmt.Errorf("C5: op %d was said not to have been applied, and is in entry %d", op, index)
	}
	l.notApplied++
	l.moved[op] = struct{}{}
	return nil
}

// showed notes that a key was said to have a version, by an answer to what was asked when the floor was this.
func (l *ledger) showed(now time.Duration, key, version, floor uint64) error {
	if version == 0 {
		if h := l.history[key]; len(h) > 0 && h[0].index <= floor {
			return fmt.Errorf("C7: key %d was said to be absent, and was written in entry %d", key, h[0].index)
		}
		return nil
	}
	for i, o := range l.history[key] {
		if o.version == version {
			if h := l.history[key]; i+1 < len(h) && h[i+1].index <= floor {
				return fmt.Errorf("C7: key %d was said to have version %d, which was replaced in entry %d",
					key, version, h[i+1].index)
			}
			l.saw(now, o.index)
			return nil
		}
	}
	return fmt.Errorf("C7: key %d was said to have version %d, which is not in the log", key, version)
}

// leads notes who leads a term.
func (l *ledger) leads(term, id uint64) error {
	if other, ok := l.leaders[term]; ok && other != id {
		return fmt.Errorf("nodes %d and %d both lead term %d", other, id, term)
	}
	l.leaders[term] = id
	return nil
}
