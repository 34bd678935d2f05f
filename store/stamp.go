package store

import "kv/store/table"

// Stamp identifies the state of a key at an instant, to tell later whether the key was written since: see [Stamp.Same].
type Stamp struct {
	version uint64        // of the key's entry; 0: the key is absent
	removal table.Removal // of an absent key: the last deletion that may have been the key's
	state   uint64        // Store.installs
}

// Same reports whether the key was neither written nor expired between the two stamps, which are of the same key. For an
// absent key it may, seldom, return false though nothing happened: a deletion of another key looks like its own, or the
// sweeper has removed what had expired before.
func (a Stamp) Same(b Stamp) bool {
	return a.version == b.version && a.state == b.state && a.removal.Same(b.removal)
}

// Stamp returns the stamp of key. It counts as a read.
func (c *Session) Stamp(key []byte) Stamp {
	v := c.View()
	defer v.Close()
	h := c.store.hash(key)
	// First, so that what is deleted since makes another stamp. It is never less later (I5 in store/table).
	a := Stamp{state: c.store.installs.Load(), removal: c.reader.Removal(h)}
	if e := v.Get(key); e.Exists() {
		return Stamp{state: a.state, version: e.Version()}
	}
	a.removal = a.removal.Since(versionOf(c.reader.Get(key))) // a deletion that is kept, or what has expired
	return a
}

// Stamp returns the stamp of key before the update.
func (u *Update) Stamp(key []byte) Stamp {
	h := u.hash(key)
	a := Stamp{state: u.w.s.installs.Load()}
	if e := u.w.current(h, key); e.Exists() {
		a.version = e.Version()
		return a
	}
	sh := u.w.s.shardOf(h)
	p := sh.Find(h, key)
	a.removal = p.Removal().Since(versionOf(p.Entry()))
	if ahead, ok := sh.ahead[string(key)]; ok {
		a.removal = a.removal.Since(ahead.entry.version)
	}
	return a
}
