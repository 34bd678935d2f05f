package store

import (
	"bytes"
	"slices"
)

// Purge erases what is kept of the past of keys, at one instant: the earlier versions of those that exist, which keep their
// current one, and all that is left of others. It returns how many versions went, deletions included, and the version that the
// erasure has in the journal, which is told of each key, whether or not anything was kept of it here; with no keys, and where
// there is neither a journal nor anything to erase, that is 0. It never fails for lack of memory.
//
// What is erased can't be read any more and does not come back from the journal. In the journal's files it may still be
// there until the journal drops those that are older: a log does so once it has made a snapshot.
func (c *Session) Purge(keys [][]byte) (erased int, version uint64, err error) {
	version, err = c.atomically(len(keys) > 0, func(w *commit) {
		erased, w.purges = 0, true
		for _, k := range keys {
			erased += w.purge(k)
		}
	}, slices.Values(keys))
	if err != nil {
		return 0, 0, err
	}
	return erased, version, nil
}

// purge stages the erasure of the past of key, and returns how many versions that is.
func (w *commit) purge(key []byte) int {
	h := w.s.hash(key)
	all := w.current(h, key) == nil
	if w.s.journal == nil {
		// Nobody but the map has anything to erase.
		b := w.s.slotOf(h).p.Load()
		if w.own(b) == nil {
			if _, cur := b.find(tagOf(h), key); chainOf(b.chains(), key) < 0 && (cur == nil || !all) {
				return 0
			}
		}
	}
	p := w.stage(h)
	d := draftOf(p.next)
	erased, eff := d.purge(key, tagOf(h), all)
	p.effect.add(eff)
	p.next = d.build()
	w.made = append(w.made, newPurge(key, all))
	return erased
}

// purgePage is about how many keys a PurgePrefix erases the past of.
const purgePage = 1000

// PurgePrefix is Purge of the keys that begin with prefix and that exist, or of which something is kept; of a page of them:
// from cursor on, which is nil for the first page and else the next of the page before; nil: this was the last. Cursors are
// those of Scan, and so is the error ErrStaleCursor.
func (c *Session) PurgePrefix(cursor, prefix []byte) (erased int, version uint64, next []byte, err error) {
	from, err := c.store.fromCursor(cursor)
	if err != nil {
		return 0, 0, nil, err
	}
	keys, next := c.store.known(from, prefix)
	erased, version, err = c.Purge(keys)
	if err != nil {
		return 0, 0, nil, err
	}
	return erased, version, next, nil
}

// known returns the keys that begin with prefix, and exist or have a history, in a few segments from that of hash from on,
// and the cursor of what is behind them.
func (s *Store) known(from uint64, prefix []byte) (keys [][]byte, next []byte) {
	for range pageSegments {
		last := s.buckets(from, func(b *bucket) {
			add := func(e *Entry) {
				if bytes.HasPrefix(e.Key(), prefix) && s.hash(e.Key()) >= from {
					keys = append(keys, e.Key())
				}
			}
			b.each(func(e *Entry, _ uint8) { add(e) })
			for _, ch := range b.chains() {
				if ch[0].Deleted() { // else the key exists
					add(ch[0])
				}
			}
		})
		if last == ^uint64(0) {
			return keys, nil
		}
		if from = last + 1; len(keys) >= purgePage {
			break
		}
	}
	return keys, s.cursor(from)
}
