package store

// Store is a map from keys to values. All its methods, and the sessions that it hands out, work side by side.
type Store struct{}

// Open makes a store and, if it has a journal, fills it with what the journal holds.
func Open(o Options) (*Store, error) { panic("being built") }

// Close stops the store's own work. Writes fail with ErrReadOnly from then on. The journal is its opener's to close.
func (s *Store) Close() error { panic("being built") }

// Session returns a new session. Close it when it is no longer used.
func (s *Store) Session() *Session { panic("being built") }

// Instance names this run of the store: a random number, never 0.
func (s *Store) Instance() uint64 { panic("being built") }

// Walk calls f for every key that exists throughout the walk, exactly once, and for those that come or go meanwhile at
// most once, while reads and writes go on.
func (s *Store) Walk(f func(*Entry) error) error { panic("being built") }

// Session is one goroutine's access to a store: it counts what it does, and knows what it has seen that is not durable
// yet. It is not for use by several goroutines at a time.
//
// Keys and values that a session is given are copied; what it returns must not be modified.
type Session struct{}

// Close ends the session; its counts stay in the store's.
func (c *Session) Close() { panic("being built") }

// Flush waits until all that the session has written, and all that it has read, can't be undone by a crash, as far as the
// journal's sync policy promises; and makes its counts visible to Stats of others. An answer that leaves the process
// leaves after it. The error, which matches ErrReadOnly, means that what was read or written may be lost.
func (c *Session) Flush() error { panic("being built") }

// Get returns the entry of key, nil if it is absent. It takes no lock, writes no shared memory and does not allocate.
func (c *Session) Get(key []byte) *Entry { panic("being built") }

// Warm pulls what Get and Set of these keys will touch into the processor's caches, all at a time, so that their misses
// overlap. It changes nothing and counts nothing.
func (c *Session) Warm(keys [][]byte) { panic("being built") }

// MGet appends the entries of keys to dst, nil for each that is absent. All were current together at one instant.
func (c *Session) MGet(dst []*Entry, keys [][]byte) []*Entry { panic("being built") }

// Set gives key a value and returns the version of that. Errors: *ConflictError, ErrOutOfMemory, ErrReadOnly, ErrTooLarge.
func (c *Session) Set(key, value []byte, o SetOptions) (version uint64, err error) {
	panic("being built")
}

// MSet sets all pairs at one instant; of equal keys the last wins. With no pairs it does nothing and returns version 0.
func (c *Session) MSet(pairs []Pair) (version uint64, err error) { panic("being built") }

// Del deletes all keys at one instant and returns how many existed, a key named twice counting once, and the version of
// their deletion, 0 if none existed.
func (c *Session) Del(keys [][]byte) (existed int, version uint64, err error) { panic("being built") }

// Txn checks the conditions and, if all hold, runs ops in order, all at one instant: an OpGet sees what the ops before it
// wrote. It appends one result for each op to dst. The version is 0 if nothing was written.
func (c *Session) Txn(dst []Result, conds []Condition, ops []Op) (results []Result, version uint64, err error) {
	panic("being built")
}

// Scan returns one page of the keys that begin with prefix: about limit of them (0: as the store likes), from cursor on
// (nil: from the start). Following the cursors to the end gives each key that is there throughout exactly once.
func (c *Session) Scan(cursor, prefix []byte, limit int) (Page, error) { panic("being built") }

// GetVersion returns the entry that key had in this version, nil if it is not kept or was a deletion.
func (c *Session) GetVersion(key []byte, version uint64) *Entry { panic("being built") }

// History appends the kept versions of key to dst, newest first, at most limit (0: all).
func (c *Session) History(dst []Revision, key []byte, limit int) []Revision { panic("being built") }

// Rollback gives key a new version that equals a kept one, deletions included, and returns it. Besides the errors of Set
// there is ErrNoVersion.
func (c *Session) Rollback(key []byte, version uint64) (uint64, error) { panic("being built") }

// Stats returns the store's figures, with all that this session has done.
func (c *Session) Stats() Stats { panic("being built") }
