package store

// NewPurge makes an entry that says, as a journal read it, that the versions of key before this one were erased; see
// Entry.Purge. key is copied.
func NewPurge(version uint64, key []byte, all bool) *Entry {
	e := newPurge(key, all)
	e.version = version
	return e
}

// NewEntry makes an entry as a journal read it: with its version, and the expiry in Unix milliseconds (0: none). A
// deletion has neither value nor expiry. key and value are copied.
func NewEntry(version uint64, key, value []byte, expiry uint64, deleted bool) *Entry {
	var e *Entry
	if deleted {
		e = newTombstone(key)
	} else {
		e = newEntry(key, value, expiry)
	}
	e.version = version
	return e
}
