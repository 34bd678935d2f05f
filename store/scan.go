package store

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// A scan goes through the keys in the order of their hashes. A key's place in that order never changes, whatever splits
// meanwhile, and a segment holds one contiguous range of it. So a scan that reads one segment after another, and goes on
// behind the last hash of each, meets every key that is there throughout exactly once, and any other at most once. The
// cursor is the next hash to look at, with the instance of the store, whose seed no other process shares.

const (
	cursorSize = 16
	// A page has at most about so many entries and bytes, and looks at so many segments, so that none takes long.
	defaultPage  = 1000
	pageBytes    = 1 << 20
	pageSegments = 64
)

// ScanOptions say what a scan returns.
type ScanOptions struct {
	Prefix []byte // only keys that begin with it
	Limit  int    // about how many keys a page has, at most; 0: as the store likes
	Values bool   // the values are wanted too, so they count for a page's size
}

// Scan returns one page of the keys: from cursor on, which is nil for the first page and else the Next of the page before.
// Following the cursors to the end gives each key that is there throughout exactly once. A page may be empty and yet have a
// Next. The error is ErrStaleCursor for a cursor that this store did not give.
func (c *Session) Scan(cursor []byte, o ScanOptions) (Page, error) {
	s := c.store
	from, err := s.fromCursor(cursor)
	if err != nil {
		return Page{}, err
	}
	limit := o.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	var page Page
	size := 0
	now := s.clock.now()
	var found []located
	for range pageSegments {
		var last uint64
		found, last = s.gather(found[:0], from, c)
		slices.SortFunc(found, func(a, b located) int { return cmp.Compare(a.hash, b.hash) })
		for i, f := range found {
			// Keys of one hash go on one page: the cursor can't part them.
			if full := len(page.Entries) >= limit || size >= pageBytes; full && (i == 0 || found[i-1].hash != f.hash) {
				page.Next = s.cursor(f.hash)
				return page, nil
			}
			if !f.entry.expiredAt(now) && bytes.HasPrefix(f.entry.Key(), o.Prefix) {
				page.Entries = append(page.Entries, f.entry)
				size += f.entry.keyLen()
				if o.Values {
					size += f.entry.Len()
				}
			}
		}
		if last == ^uint64(0) {
			return page, nil
		}
		from = last + 1
	}
	page.Next = s.cursor(from)
	return page, nil
}

// fromCursor returns the first hash that is behind a cursor; nil stands for the beginning.
func (s *Store) fromCursor(cursor []byte) (from uint64, err error) {
	switch {
	case len(cursor) == 0:
		return 0, nil
	case len(cursor) != cursorSize || binary.BigEndian.Uint64(cursor) != s.instance:
		return 0, ErrStaleCursor
	}
	return binary.BigEndian.Uint64(cursor[8:]), nil
}

func (s *Store) cursor(hash uint64) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, cursorSize), s.instance)
	return binary.BigEndian.AppendUint64(b, hash)
}

// located is an entry with the hash of its key.
type located struct {
	hash  uint64
	entry *Entry
}

// gather appends the current entries of the segment of hash from, as far as their hashes are not below it, and returns the
// segment's last hash.
func (s *Store) gather(dst []located, from uint64, c *Session) (found []located, last uint64) {
	last = s.buckets(from, func(b *bucket) {
		c.see(b.version())
		b.each(func(e *Entry, _ uint8) {
			if h := s.hash(e.Key()); h >= from {
				dst = append(dst, located{h, e})
			}
		})
	})
	return dst, last
}

// buckets calls f for every bucket of the segment of hash h, and returns the segment's last hash. The buckets are not of one
// instant, but each key that is there throughout is in one of them.
func (s *Store) buckets(h uint64, f func(*bucket)) (last uint64) {
	var all [slotCount]*bucket
retry:
	g := s.shards[shardOf(h)].dir.Load().segment(h)
	for i := range g.slots {
		if all[i] = g.slots[i].p.Load().resolve(); all[i] == moved {
			goto retry
		}
	}
	for _, b := range all {
		if b != nil {
			f(b)
		}
	}
	return g.last(h)
}

// Walk calls f for every key that exists throughout the walk, exactly once, and for those that come or go meanwhile at
// most once, while reads and writes go on. With history it calls f for every kept version of a key, oldest first, one key
// after the other, and for deletions too. It stops at the first error of f and returns that.
func (s *Store) Walk(f func(*Entry) error) error {
	s.Barrier() // what the journal was given before is seen by the walk
	var entries []*Entry
	for h := uint64(0); ; {
		entries = entries[:0]
		last := s.buckets(h, func(b *bucket) {
			history := b.chains()
			for _, c := range history {
				for i := len(c) - 1; i >= 0; i-- {
					entries = append(entries, c[i])
				}
				if _, e := b.find(tagOf(s.hash(c[0].Key())), c[0].Key()); e != nil {
					entries = append(entries, e)
				}
			}
			b.each(func(e *Entry, _ uint8) {
				if chainOf(history, e.Key()) < 0 {
					entries = append(entries, e)
				}
			})
		})
		for _, e := range entries {
			if err := f(e); err != nil {
				return err
			}
		}
		if last == ^uint64(0) {
			return nil
		}
		h = last + 1
	}
}
