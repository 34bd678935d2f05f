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
	pageSegments = 64
	// entryExtra is what counts for an entry besides key and value.
	entryExtra = 32
)

// PageBytes is about how many bytes a page of a scan has, at most, unless ScanOptions say otherwise.
const PageBytes = 1 << 20

// ScanOptions say what a scan returns.
type ScanOptions struct {
	Prefix []byte // only keys that begin with it
	Limit  int    // about how many keys a page has, at most; 0: as the store likes
	Values bool   // the values are wanted too, so they count for a page's size
	Bytes  int    // about how many bytes a page has, at most, but for a value above 4 KiB at its end; 0: 1 MiB
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
	if o.Bytes <= 0 {
		o.Bytes = PageBytes
	}
	var page Page
	size := 0
	now := s.clock.now()
	var found []located
	var entries []Found
	for range pageSegments {
		var last uint64
		v := c.View() // anew for each segment: none is long
		entries, last = c.reader.Range(entries[:0], from)
		found = found[:0]
		for _, e := range entries {
			found = append(found, located{s.hash(e.Key()), e})
		}
		slices.SortFunc(found, func(a, b located) int { return cmp.Compare(a.hash, b.hash) })
		full := c.addPage(&page, &size, found, o, limit, now)
		v.Close()
		if full {
			return page, nil
		}
		if last == ^uint64(0) {
			return page, nil
		}
		from = last + 1
	}
	page.Next = s.cursor(from)
	return page, nil
}

// addPage adds copies of what was found to a page, and reports whether the page is full.
func (c *Session) addPage(page *Page, size *int, found []located, o ScanOptions, limit int, now moment) (full bool) {
	for i, f := range found {
		// Keys of one hash go on one page: the cursor can't part them.
		if full := len(page.Entries) >= limit || *size >= o.Bytes; full && (i == 0 || found[i-1].hash != f.hash) {
			page.Next = c.store.cursor(f.hash)
			return true
		}
		e := f.entry
		if e.Deleted() || expiredAt(e, now) || !bytes.HasPrefix(e.Key(), o.Prefix) {
			continue
		}
		*size += len(e.Key()) + entryExtra
		if o.Values {
			*size += e.Len()
			page.Entries = append(page.Entries, detach(e))
		} else {
			page.Entries = append(page.Entries, detachKey(e))
		}
	}
	return false
}

// detachKey is detach but for the value, which is empty.
func detachKey(e Found) *Entry {
	d := buildEntry(e.Key(), nil, e.Expiry(), 0)
	d.version = e.Version()
	return d
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
	entry Found
}

// Walk calls f exactly once for every key that exists throughout the walk, and at most once for keys that come or go
// meanwhile; reads and writes go on. With history it calls f for every kept version of a key, oldest first, one key after
// the other, and for deletions too. It stops at the first error of f and returns that. An entry is valid until f returns;
// see [Entry.Clone].
func (s *Store) Walk(f func(*Entry) error) error {
	s.Barrier() // what the journal was given before is seen by the walk
	installs := s.installs.Load()
	r := s.table.Reader("a walk")
	defer r.Close()
	var found []Found
	var copies Maker
	var entries []*Entry
	var keys [][]byte
	for h := uint64(0); ; {
		// Copies are made while the reader is pinned, and f, which may take its time, sees those. What needs a lock is
		// done behind that.
		entries, keys = entries[:0], keys[:0]
		r.Pin()
		var last uint64
		found, last = r.Range(found[:0], h)
		if s.keeps {
			for _, e := range found {
				keys = append(keys, slices.Clone(e.Key()))
			}
		} else {
			copies.Reset()
			for _, e := range found {
				entries = append(entries, copies.detach(e))
			}
		}
		r.Unpin()
		for _, k := range keys {
			entries = s.withHistory(entries, k)
		}
		if installs%2 == 1 || installs != s.installs.Load() {
			return errReplaced
		}
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

// withHistory appends copies of all kept versions of key, oldest first.
func (s *Store) withHistory(dst []*Entry, key []byte) []*Entry {
	h := s.hash(key)
	sh := s.shardOf(h)
	sh.Lock()
	defer sh.Unlock()
	p := sh.Find(h, key)
	if !p.Entry().Exists() {
		return dst
	}
	begin := len(dst)
	dst = append(dst, detach(p.Entry()))
	sh.Revisions(&p, func(e Found) bool {
		dst = append(dst, detach(e))
		return true
	})
	slices.Reverse(dst[begin:])
	return dst
}
