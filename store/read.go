package store

import "kv/store/table"

// Found is an entry in the store's own memory; the zero value is none. It is valid until the [View] that found it is closed.
type Found = table.Entry

// View is a session's access to entries where they lie, without a copy. What a view finds stays as it is until the view is
// closed. Until then no memory that writes replace can be used again, so a view is for one batch of reads: nothing in it may
// block, and it is closed before anything is sent. A session has one view at a time, and does nothing else meanwhile.
//
// After Close what was found may be overwritten at any time. In a program that is built with -race, freed memory is
// overwritten at once, so that tests find such use.
type View struct{ c *Session }

// View opens a view.
func (c *Session) View() View {
	c.reader.Pin()
	return View{c}
}

// Close ends the view.
func (v View) Close() { v.c.reader.Unpin() }

// Get returns the entry of key. It takes no lock, writes no shared memory and does not allocate.
func (v View) Get(key []byte) Found {
	// So short that the compiler inlines it: a lookup is one call, of the table's.
	v.c.gets++
	return v.c.reader.Live(key)
}

// other returns what Get makes of an entry that is not plain, or of none: see [table.Reader.Live].
func (c *Session) other(key []byte, e Found) Found {
	if e = c.current(key, e); !e.Exists() {
		c.misses++
	}
	return e
}

// find is View.Get, uncounted.
func (c *Session) find(key []byte) Found { return c.current(key, c.reader.Get(key)) }

// GetMany is Get of each key, in their order; their cache misses overlap, and the clock is read once. dst is as long as keys.
func (v View) GetMany(dst []Found, keys [][]byte) {
	v.Peek(dst, keys)
	v.Count(dst)
}

// Peek is GetMany without the counts, for a caller that does not know yet how many of the keys it will answer. Count adds
// these.
func (v View) Peek(dst []Found, keys [][]byte) {
	c := v.c
	c.reader.GetMany(dst, keys)
	var now moment
	for i, e := range dst {
		if !e.Exists() || e.Plain() {
			continue
		}
		if e.Deleted() {
			dst[i] = Found{}
			continue
		}
		// The clock is read after all were found: an entry that has not expired by then had not when it was found.
		if now.state == nil && e.Expiry() != 0 {
			now = c.store.clock.now()
		}
		if !expiredAt(e, now) {
			continue
		}
		// That this key is absent is true of a later moment than what was found behind it: see current.
		for ; i < len(dst); i++ {
			dst[i] = c.find(keys[i])
		}
		return
	}
}

// Count counts what Peek has found.
func (v View) Count(found []Found) {
	v.c.gets += uint64(len(found))
	for _, e := range found {
		if !e.Exists() {
			v.c.misses++
		}
	}
}

// current returns e, which was found for key, or none if the key is absent all the same: e has expired, or is a deletion.
func (c *Session) current(key []byte, e Found) Found {
	// The clock is read after the entry was found, so an entry that has not expired by then had not when it was found. One that
	// has is looked up again: if it is still there, the key was absent when the clock was read; if another entry is there, all
	// this begins again, for which a write and an expiry have to come within this loop.
	for e.Exists() && !e.Deleted() && c.store.expired(e) {
		was := e
		if e = c.reader.Get(key); e == was {
			return Found{}
		}
	}
	if e.Exists() && e.Deleted() {
		return Found{}
	}
	return e
}

// Entry returns an entry that may be kept, nil for none. A value of up to 4 KiB is copied; a larger one is the one that was
// set.
func (v View) Entry(e Found) *Entry { return detach(e) }

// MGetView fills dst, which is as long as keys, with their entries, all current at one instant, and returns the open view
// that they are valid in. accept, if not nil, is called with the entries and must not block. If it returns an error,
// MGetView returns that, no view is open, and nothing is counted.
func (c *Session) MGetView(dst []Found, keys [][]byte, accept func([]Found) error) (v View, err error) {
	c.reader.Pin()
	open := false
	defer func() {
		if !open {
			c.reader.Unpin()
		}
	}()
	var now moment
	c.reader.Snapshot(dst, keys, func() { now = c.store.clock.now() })
	misses := uint64(0)
	for i, e := range dst {
		if e.Exists() && !e.Plain() && (e.Deleted() || expiredAt(e, now)) {
			dst[i] = Found{}
		}
		if !dst[i].Exists() {
			misses++
		}
	}
	if accept != nil {
		if err := accept(dst); err != nil {
			return View{}, err
		}
	}
	c.gets += uint64(len(keys))
	c.misses += misses
	open = true
	return View{c}, nil
}

// Get returns a copy of the entry of key, nil if it is absent.
func (c *Session) Get(key []byte) *Entry {
	v := c.View()
	defer v.Close()
	return detach(v.Get(key))
}

// AppendValue appends the value of key to dst and reports whether there is one.
func (c *Session) AppendValue(dst, key []byte) (value []byte, ok bool) {
	v := c.View()
	defer v.Close()
	e := v.Get(key)
	if !e.Exists() {
		return dst, false
	}
	return append(dst, e.Value()...), true
}

// MGet appends copies of the entries of keys to dst, nil for each that is absent. All were current together at one instant.
func (c *Session) MGet(dst []*Entry, keys [][]byte) []*Entry {
	found := make([]Found, len(keys))
	v, _ := c.MGetView(found, keys, nil)
	defer v.Close()
	for _, e := range found {
		dst = append(dst, detach(e))
	}
	return dst
}

// peek is Get, uncounted.
func (c *Session) peek(key []byte) *Entry {
	v := c.View()
	defer v.Close()
	return detach(c.find(key))
}

// Warm loads what reads and writes of these keys will touch into the processor's caches, so that their misses overlap. It
// changes nothing and counts nothing.
func (c *Session) Warm(keys [][]byte) {
	c.reader.Pin()
	defer c.reader.Unpin()
	c.reader.Warm(keys)
}

// detach returns an entry in Go's memory, nil for none: a copy, or the entry that a large value is part of.
func detach(e Found) *Entry {
	if !e.Exists() {
		return nil
	}
	if v, large := e.Large(); large {
		return entryOf(v, len(e.Key()), e.Expiry() != 0)
	}
	both, key := e.KeyValue()
	return copyInto(make([]byte, entrySize(len(both), 0, e.Expiry())), e, both, key)
}
