package store

import (
	"errors"
	"fmt"
	"sync"

	"kv/store/table"
)

// errNoMemory is what can't be: memory that is taken whatever the limit says is not there.
var errNoMemory = errors.New("no memory is left at all")

// applier is what Apply, ApplySoon and Install share.
type applier struct {
	mu     sync.Mutex    // held by each of the three, which so exclude each other; guards what follows
	commit commit        // Apply's, used again
	reader *table.Reader // ApplySoon's; nil: it was not called yet
	keys   [][]byte      // ApplySoon's, used again
}

// WarmAtOnce is the number of entries that ApplySoon is best called with.
const WarmAtOnce = table.WarmAtOnce

// ApplySoon loads what Apply of these entries will touch into the processor's caches, so that their misses overlap.
func (s *Store) ApplySoon(entries []*Entry) {
	a := &s.applier
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reader == nil {
		a.reader = s.table.Reader("the applier")
	}
	a.keys = a.keys[:0]
	for _, e := range entries {
		a.keys = append(a.keys, e.Key())
	}
	a.reader.Pin()
	defer a.reader.Unpin()
	a.reader.Warm(a.keys)
	clear(a.keys)
}

// Apply applies a write of another store, as that store's journal has it: all of it at one instant, for readers too. Records
// come in the order of versions, and may be given again from any one on: an entry counts only if it is newer than what its
// key has. Nothing is refused: memory is taken whatever the limit says. With the same Options, history is kept as the other
// store keeps it. Expiries are times, so a key expires by this store's clock.
//
// The store's own journal is not told of it. An error says that the store is closed, or that the system has no more memory;
// then the record may be applied in part, and the store must not be used any more.
func (s *Store) Apply(version uint64, entries []*Entry) error {
	s.applier.mu.Lock()
	defer s.applier.mu.Unlock()
	if s.closed.Load() {
		return errClosed
	}
	for {
		last := s.versions.Load()
		if last >= version || s.versions.CompareAndSwap(last, version) {
			break
		}
	}
	var err error
	switch {
	case len(entries) == 0:
	case entries[0].control() >= 0:
		err = s.applyControl(version, entries)
	case len(entries) == 1:
		err = s.applyOne(version, entries[0])
	default:
		err = s.applyAll(version, entries)
	}
	if err != nil {
		return fmt.Errorf("apply version %d: %w", version, err)
	}
	return nil
}

// applyOne is Apply of a write that leaves one entry.
func (s *Store) applyOne(version uint64, e *Entry) error {
	e.version = version
	h := s.hash(e.Key())
	sh := s.shardOf(h)
	sh.Lock()
	defer sh.Unlock()
	sh.newest = max(sh.newest, e.version)
	sh.arrived(s, e.Key(), e.version)
	if !s.replay(sh, h, e, s.HistoryDepth()) {
		return errNoMemory
	}
	return nil
}

// applyAll is Apply of a write that leaves several.
func (s *Store) applyAll(version uint64, entries []*Entry) (err error) {
	var set table.ShardSet
	home := 0
	hashes := make([]uint64, len(entries))
	for i, e := range entries {
		e.version = version
		hashes[i] = s.hash(e.Key())
		home = max(home, table.ShardOf(hashes[i]))
		set.Add(table.ShardOf(hashes[i]))
	}
	s.table.LockAll(set)
	defer s.table.UnlockAll(set)
	w := &s.applier.commit
	*w = commit{s: s, txn: w.txn, outcomes: emptied(w.outcomes), keep: s.HistoryDepth(), home: &s.shards[home], must: true}
	defer w.undo() // if it was not committed
	for i, e := range entries {
		s.shardOf(hashes[i]).arrived(s, e.Key(), version)
		p := s.shardOf(hashes[i]).Find(hashes[i], e.Key())
		if _, own := p.Mark(); !own && versionOf(p.Entry()) >= version {
			continue
		}
		if w.set(hashes[i], e); w.refused != nil {
			return errNoMemory
		}
	}
	w.publish(version)
	return nil
}
