package resp

import "kv/store"

// found is an entry as a command sees it: where the store has it, within a change of keys, or a copy; the zero value is none.
type found struct {
	here store.Found
	copy *store.Entry
}

func (f found) Exists() bool { return f.copy != nil || f.here.Exists() }

func (f found) Key() []byte {
	if f.copy != nil {
		return f.copy.Key()
	}
	return f.here.Key()
}

func (f found) Value() []byte {
	if f.copy != nil {
		return f.copy.Value()
	}
	return f.here.Value()
}

func (f found) Version() uint64 {
	if f.copy != nil {
		return f.copy.Version()
	}
	return f.here.Version()
}

func (f found) Expiry() uint64 {
	if f.copy != nil {
		return f.copy.Expiry()
	}
	return f.here.Expiry()
}

func (f found) Len() int {
	if f.copy != nil {
		return f.copy.Len()
	}
	return f.here.Len()
}

// change is the keyspace of a command that may write; it counts the reads, writes and deletions for the figures.
type change struct {
	*store.Update
	reading                  bool // keys that are read count as gets, since the command is one that reads
	gets, misses, sets, dels int
	expired                  int // keys that were deleted because their new expiry had passed
}

func (c *change) Get(key []byte) found {
	f := found{here: c.Update.Get(key)}
	if c.reading {
		c.read(f)
	}
	return f
}

// read counts f as read.
func (c *change) read(f found) {
	c.gets++
	if !f.Exists() {
		c.misses++
	}
}

func (c *change) Expiry(e found) uint64 { return c.Update.Expiry(e.here) }

func (c *change) Set(key, value []byte, expiry uint64) {
	c.sets++
	c.Update.Set(key, value, expiry)
}

func (c *change) Delete(key []byte) (existed bool) {
	c.dels++
	return c.Update.Delete(key)
}

// count tells the store what was done.
func (c *change) count() {
	c.Count(c.gets, c.sets, c.dels)
	c.CountMisses(c.misses)
}
