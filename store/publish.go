package store

import "kv/store/table"

// outcome is what a write leaves of one key.
type outcome struct {
	hash  uint64
	entry *Entry      // as the journal is told of it: a deletion, too
	cur   Found       // what is current until the write takes effect
	next  table.Fresh // what is then; the zero value: nothing
	only  bool        // the key is left as it is, but readers wait for the version

	needsNote bool // publish's: see Store.needsNote
}

// publish makes what a write of this version leaves of its keys what readers see, and books it. put is the instant:
// until then what was current may be looked at, and afterwards no more. The shards are locked, and all memory that it
// takes is there: nothing can fail. keep is how much history each key may have.
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
		if o.entry.Deleted() && o.next != (table.Fresh{}) && !s.loading { // what was before it may come later
			s.dropLoneDeletion(sh, o.hash, o.entry.Key())
		}
		if o.needsNote {
			s.note(sh, o.hash)
		}
	}
}

// put makes the outcome what the table has at p, whose shard is locked.
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

// dropLoneDeletion removes what is kept of key if it is only its deletion: there is nothing to go back to. sh is locked.
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
