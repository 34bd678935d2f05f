package store

import "kv/store/table"

// outcome is what a write leaves of one key.
type outcome struct {
	hash  uint64
	entry *Entry      // for the journal; may be a deletion
	cur   Found       // current before the write
	next  table.Fresh // current after it; the zero value: nothing
	only  bool        // the key stays as it is, but readers of it wait for the write's version to be durable

	needsNote bool // publish's: see Store.needsNote
}

// publish makes the outcomes of a write of this version visible, by put, and counts them. After put, what was current before
// must not be looked at any more. The shards are locked, and all memory is there, so nothing can fail. keep is how many
// earlier versions each key may have.
func (s *Store) publish(all []outcome, version uint64, keep int, put func()) {
	for i := range all {
		o := &all[i]
		sh := s.shardOf(o.hash)
		sh.newest = max(sh.newest, version)
		o.entry.version = version
		if o.only {
			continue
		}
		o.needsNote = s.needsNote(sh, o.cur, o.entry, keep)
		eff := counted(o.cur, -1)
		if o.next != (table.Fresh{}) {
			eff.add(counted(sh.Entry(o.next), 1))
		}
		sh.account(eff)
	}
	put()
	for i := range all {
		o := &all[i]
		sh := s.shardOf(o.hash)
		if o.entry.Deleted() && o.next != (table.Fresh{}) && !s.loading { // while loading, earlier versions may still come
			s.dropLoneDeletion(sh, o.hash, o.entry.Key())
		}
		if o.needsNote {
			s.note(sh, o.hash)
		}
	}
}

// put stores the outcome in the table at p, whose shard is locked.
func (o *outcome) put(sh *shard, p *table.Place, version uint64, keep int) {
	switch {
	case o.only:
		sh.Note(p, version)
	case o.next == (table.Fresh{}):
		sh.Delete(p, version)
	default:
		sh.Put(p, o.next, version, keep)
	}
}

// dropLoneDeletion removes a key of which only a deletion is kept: there is no version to go back to. sh is locked.
func (s *Store) dropLoneDeletion(sh *shard, h uint64, key []byte) {
	p := sh.Find(h, key)
	if !p.Entry().Exists() {
		return
	}
	if _, gone := sh.Forget(&p, 0, nil); gone {
		sh.deletions--
	}
}

// spec returns what the table makes its entry for e of.
func spec(e *Entry) (s table.Spec) {
	specInto(&s, e)
	return s
}

// specInto is spec into s, without a copy: see [table.Shard.FindInto].
func specInto(s *table.Spec, e *Entry) {
	s.Key, s.Value, s.Expiry, s.Deleted = e.Key(), e.Value(), e.Expiry(), e.Deleted()
}
