package store

import "slices"

// draft is a bucket taken apart, to be changed at leisure: the slow way, for transactions, history and splits.
type draft struct {
	version uint64
	entries []*Entry
	tags    []uint8
	history []chain // copied before it is changed: buckets share it
}

func draftOf(b *bucket) *draft {
	room := int(b.load()) + 1
	d := &draft{version: b.version(), entries: make([]*Entry, 0, room), tags: make([]uint8, 0, room), history: b.chains()}
	b.each(d.add)
	return d
}

func (d *draft) find(tag uint8, key []byte) (int, *Entry) {
	for i, t := range d.tags {
		if t == tag && d.entries[i].is(key) {
			return i, d.entries[i]
		}
	}
	return -1, nil
}

func (d *draft) add(e *Entry, tag uint8) {
	d.entries = append(d.entries, e)
	d.tags = append(d.tags, tag)
}

func (d *draft) remove(i int) {
	last := len(d.entries) - 1
	d.entries[i], d.tags[i] = d.entries[last], d.tags[last]
	d.entries, d.tags = d.entries[:last], d.tags[:last]
}

// build makes the bucket. The draft may be changed and built again.
func (d *draft) build() *bucket {
	n := min(len(d.entries), bucketWidth)
	var b *bucket
	if len(d.entries) > bucketWidth || len(d.history) > 0 {
		x := &extendedBucket{ext: &extension{
			entries: slices.Clone(d.entries[n:]),
			tags:    slices.Clone(d.tags[n:]),
			history: d.history,
		}}
		b = &x.bucket
		b.meta = kindExtended
	} else {
		b = allocBucket(n)
	}
	b.meta |= d.version<<versionShift | uint64(n)
	copy(b.inline(), d.entries)
	for i, t := range d.tags[:n] {
		b.tags |= uint64(t) << (8 * i)
	}
	return b
}

// set puts e, which may be a deletion, in the place of what its key has in d, and keeps what the key was in the bucket was,
// which is d's before the write, as history.
func (d *draft) set(e *Entry, tag uint8, was *bucket, keep int) effect {
	i, cur := d.find(tag, e.Key())
	eff := swap(cur, e)
	switch {
	case !e.Deleted() && i < 0:
		d.add(e, tag)
	case !e.Deleted():
		d.entries[i] = e
	case i >= 0:
		d.remove(i)
	}
	if keep > 0 || len(d.history) > 0 {
		eff.add(d.remember(e, tag, was, keep))
	}
	return eff
}

// purge erases the past of key, or with all what it is now too, and returns how many versions went.
func (d *draft) purge(key []byte, tag uint8, all bool) (erased int, eff effect) {
	if at := chainOf(d.history, key); at >= 0 {
		erased = len(d.history[at])
		eff.add(kept(d.history[at], -1))
		d.replaceChain(at, nil)
	}
	if i, cur := d.find(tag, key); i >= 0 && all {
		erased++
		eff.sub(swap(nil, cur))
		d.remove(i)
	}
	return erased, eff
}

// remember gives the key of e the history that it has once e has replaced what was there before the write, with keep
// entries besides the current one. What the same write had put there in between leaves no trace.
func (d *draft) remember(e *Entry, tag uint8, was *bucket, keep int) (eff effect) {
	var now chain
	if i := chainOf(was.chains(), e.Key()); i >= 0 {
		now = was.chains()[i]
	}
	_, before := was.find(tag, e.Key())
	if before != nil || !e.Deleted() { // else it was absent and stays so
		all := make(chain, 0, 2+len(now))
		if e.Deleted() {
			all = append(all, e)
			keep++
		}
		if before != nil {
			all = append(all, before)
		}
		all = append(all, now...)
		// A copy, so that nothing behind its end stays reachable.
		now = slices.Clone(all[:min(len(all), keep)].worth(!e.Deleted()))
	}
	at := chainOf(d.history, e.Key())
	if at >= 0 {
		eff.add(kept(d.history[at], -1))
	}
	eff.add(kept(now, 1))
	d.replaceChain(at, now)
	return eff
}

// replaceChain puts now in the place of the history at position at, or adds it if at is -1; an empty one is dropped.
func (d *draft) replaceChain(at int, now chain) {
	history := make([]chain, 0, len(d.history)+1)
	for i, c := range d.history {
		if i != at {
			history = append(history, c)
		}
	}
	if len(now) > 0 {
		history = append(history, now)
	}
	d.history = history
}
