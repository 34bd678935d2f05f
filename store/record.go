package store

import (
	"unsafe"

	"kv/store/table"
)

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

// Maker makes entries, one behind the other, in memory that it uses again for the next: for a journal that gives many
// to load, which keeps of those that it is given only the large ones. It is for one goroutine at a time.
type Maker struct {
	words []uint64
	used  int
}

// makerWords is about what a journal gives to load at a time.
const makerWords = 24 << 10

// Entry is NewEntry of a value.
func (m *Maker) Entry(version uint64, key, value []byte, expiry uint64) *Entry {
	words := (entryHeader + expirySize + len(key) + len(value) + 7) / 8
	if m.words == nil {
		m.words = make([]uint64, makerWords)
	}
	if table.IsLarge(len(value)) || words > len(m.words)-m.used {
		return NewEntry(version, key, value, expiry, false)
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&m.words[m.used])), 8*words)
	m.used += words
	e := makeEntry(b, key, value, expiry, 0)
	e.version = version
	return e
}

// Reset ends the use of all that was made.
func (m *Maker) Reset() { m.used = 0 }
