package store

// Stamp is what a key is at an instant, for who looks again later: if two stamps of one key are equal, it was not written between them, nor did it
// expire. They may differ though it was not, rarely: of an absent key, since a deletion of others whose keys are beside it in the table, or of what had
// expired and was still there, looks like its own.
type Stamp struct {
	version uint64 // of what the key holds; 0: it is absent
	removal uint64 // of an absent key: the version of the last deletion that may have been the key's
	state   uint64 // which of the states that were installed it is of
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
	a.removal = max(a.removal, versionOf(c.reader.Get(key))) // a deletion that is kept, or what has expired
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
	a.removal = max(p.Version(), versionOf(p.Entry()))
	if ahead, ok := sh.ahead[string(key)]; ok {
		a.removal = max(a.removal, ahead.entry.version)
	}
	return a
}
