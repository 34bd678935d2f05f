package store

import (
	"unsafe"

	"kv/store/table"
)

// Maker makes many entries in memory that it uses again after Reset: entries that a journal gives to load, and copies that a
// walk shows. Only large entries may be kept longer. One goroutine uses it at a time. The zero value is ready for use.
type Maker struct {
	words []uint64
	used  int
}

// makerWords is about as much memory as a journal gives to load, and a walk shows, at a time.
const makerWords = 24 << 10

// Entry is NewEntry of an entry that is no deletion.
func (m *Maker) Entry(version uint64, key, value []byte, expiry uint64) *Entry {
	if table.IsLarge(len(value)) {
		return NewEntry(version, key, value, expiry, false)
	}
	e := makeEntry(m.room(entrySize(len(key), len(value), expiry)), key, value, expiry, 0)
	e.version = version
	return e
}

// room returns n bytes of the maker's memory, or of new memory if it has no more. They begin at a multiple of 8.
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

// detach is detach of an entry that exists, with the copy in the maker's memory.
func (m *Maker) detach(e Found) *Entry {
	if table.IsLarge(e.Len()) {
		return detach(e)
	}
	both, key := e.KeyValue()
	return copyInto(m.room(entrySize(len(both), 0, e.Expiry())), e, both, key)
}

// Reset makes the memory of all entries that were made free for others.
func (m *Maker) Reset() { m.used = 0 }
