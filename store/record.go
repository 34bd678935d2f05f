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

// Maker makes entries, one behind the other, in memory that it uses again for the next; only large ones may be kept. It
// is for a journal that gives many to load, and for a walk. One goroutine uses it at a time.
type Maker struct {
	words []uint64
	used  int
}

// makerWords is about what a journal gives to load, and a walk shows, at a time.
const makerWords = 24 << 10

// Entry is NewEntry of a value.
func (m *Maker) Entry(version uint64, key, value []byte, expiry uint64) *Entry {
	if table.IsLarge(len(value)) {
		return NewEntry(version, key, value, expiry, false)
	}
	e := makeEntry(m.room(entrySize(len(key), len(value), expiry)), key, value, expiry, 0)
	e.version = version
	return e
}

// room returns n bytes, which begin at a multiple of 8.
func (m *Maker) room(n int) []byte {
	words := (n + 7) / 8
	if m.words == nil {
		m.words = make([]uint64, makerWords)
	}
	if words > len(m.words)-m.used {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(make([]uint64, words)))), n)
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&m.words[m.used])), n)
	m.used += words
	return b
}

// Reset ends the use of all that was made.
func (m *Maker) Reset() { m.used = 0 }
