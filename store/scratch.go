package store

import (
	"sync"
	"unsafe"

	"kv/store/table"
)

// scratch is the memory that a write is put together in: its entries, until the table and the journal have copied them. The
// next write uses it again, so nothing of it may be kept.
type scratch struct {
	words  [scratchWords]uint64 // entries, one behind the other
	used   int                  // words
	list   []*Entry
	told   []*Entry // what the journal is told
	commit commit
}

const (
	scratchWords = 1 << 10
	// scratchKeys is how many keys a scratch keeps room for between two writes.
	scratchKeys = 64
)

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func takeScratch() *scratch { return scratches.Get().(*scratch) }

// give ends the use of all that was made in it.
func (sc *scratch) give() {
	sc.used = 0
	sc.list, sc.told = emptied(sc.list), emptied(sc.told)
	if w := &sc.commit; w.s != nil { // it was a write of several keys
		*w = commit{txn: w.txn, outcomes: emptied(w.outcomes)}
	}
	scratches.Put(sc)
}

// emptied returns an empty list that holds on to nothing.
func emptied[T any](list []T) []T {
	if cap(list) > scratchKeys {
		return nil
	}
	clear(list)
	return list[:0]
}

// entry makes an entry without a version, in sc if there is room. A large one is made in memory of its own: it may be kept.
func (sc *scratch) entry(key, value []byte, expiry uint64, deleted uint32) *Entry {
	n := entryHeader + expirySize + len(key) + len(value)
	if words := (n + 7) / 8; !table.IsLarge(len(value)) && words <= len(sc.words)-sc.used {
		b := unsafe.Slice((*byte)(unsafe.Pointer(&sc.words[sc.used])), 8*words)
		sc.used += words
		return makeEntry(b, key, value, expiry, deleted)
	}
	return buildEntry(key, value, expiry, deleted)
}

func (sc *scratch) tombstone(key []byte) *Entry { return sc.entry(key, nil, 0, flagBit) }
