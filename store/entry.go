package store

import (
	"unsafe"

	"kv/store/table"
)

// Entry is one version of one key. It is immutable once it can be read, so it may be kept, and its value be written straight
// to a socket.
//
// It is one object without pointers, which the garbage collector therefore never scans:
//
//	0         8           12            16         [24]
//	+---------+-----------+-------------+----------+-----+-------+
//	| version | key length| value length| [expiry] | key | value |
//	| u64     | u32       | u32         | [u64]    |     |       |
//	+---------+-----------+-------------+----------+-----+-------+
//
// The top bits of the two lengths are flags: a 16-byte header lets a 16-byte key with a 32-byte value fill the
// allocator's 64-byte class exactly.
type Entry struct {
	version uint64 // set by the write that makes the entry, before it is published
	klen    uint32 // the key's length, and flagExpires
	vlen    uint32 // the value's length, and flagDeleted
}

const (
	entryHeader = 16
	expirySize  = 8

	flagBit = 1 << 31

	// MaxLen is the most bytes that a key, or a value, may have.
	MaxLen = 1<<31 - 1
)

// newEntry makes an entry without a version. expiry 0: none.
func newEntry(key, value []byte, expiry uint64) *Entry {
	return buildEntry(key, value, expiry, 0)
}

// newTombstone makes the entry that stands for a key's deletion.
func newTombstone(key []byte) *Entry {
	return buildEntry(key, nil, 0, flagBit)
}

// newPurge makes the entry that tells a journal that a key's earlier versions were erased, or with all the current one too:
// a deletion with a value of one byte, which no other deletion has.
func newPurge(key []byte, all bool) *Entry {
	value := []byte{controlPurge}
	if all {
		value[0] = controlPurgeAll
	}
	return buildEntry(key, value, 0, flagBit)
}

func buildEntry(key, value []byte, expiry uint64, deleted uint32) *Entry {
	return makeEntry(make([]byte, entrySize(len(key), len(value), expiry)), key, value, expiry, deleted)
}

// entrySize is how many bytes an entry takes with a key and a value of these lengths, and this expiry.
func entrySize(key, value int, expiry uint64) int {
	n := entryHeader + key + value
	if expiry != 0 {
		n += expirySize
	}
	return n
}

// makeEntry makes an entry in b, which is long enough and begins at a multiple of 8, as every object of 16 bytes or more
// that Go allocates does.
func makeEntry(b, key, value []byte, expiry uint64, deleted uint32) *Entry {
	e := (*Entry)(unsafe.Pointer(unsafe.SliceData(b)))
	e.version = 0
	e.klen = uint32(len(key))
	e.vlen = uint32(len(value)) | deleted
	at := entryHeader
	if expiry != 0 {
		e.klen |= flagBit
		*(*uint64)(unsafe.Pointer(&b[entryHeader])) = expiry
		at += expirySize
	}
	copy(b[at:], key)
	copy(b[at+len(key):], value)
	return e
}

// copyInto is makeEntry in b of what e is, with its version: both are the bytes of its key and value, key is how many of
// them the key has.
func copyInto(b []byte, e Found, both []byte, key int) *Entry {
	d := (*Entry)(unsafe.Pointer(unsafe.SliceData(b)))
	d.version = e.Version()
	d.klen = uint32(key)
	d.vlen = uint32(len(both) - key)
	at := entryHeader
	if !e.Plain() {
		if e.Deleted() {
			d.vlen |= flagBit
		}
		if expiry := e.Expiry(); expiry != 0 {
			d.klen |= flagBit
			*(*uint64)(unsafe.Pointer(&b[entryHeader])) = expiry
			at += expirySize
		}
	}
	copy(b[at:], both)
	return d
}

// Clone returns a copy of the entry that may be kept, for a [Journal] and for the function that [Store.Walk] calls: the
// entries they are given are valid only until they return. A large entry may be kept anyway, and is its own clone.
func (e *Entry) Clone() *Entry {
	if table.IsLarge(e.Len()) {
		return e
	}
	n := e.size()
	b := make([]byte, n)
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(e)), n))
	return (*Entry)(unsafe.Pointer(unsafe.SliceData(b)))
}

// Clones returns the clones of entries.
func Clones(entries []*Entry) []*Entry {
	all := make([]*Entry, len(entries))
	for i, e := range entries {
		all[i] = e.Clone()
	}
	return all
}

// bytes returns n bytes of the object.
func (e *Entry) bytes(at, n int) []byte {
	if n == 0 {
		return []byte{} // a pointer behind the last byte would point to another object
	}
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(e), at)), n)
}

func (e *Entry) keyAt() int {
	return entryHeader + int(e.klen>>31)*expirySize
}

func (e *Entry) keyLen() int { return int(e.klen &^ flagBit) }

// Key returns the key. It must not be modified.
func (e *Entry) Key() []byte { return e.bytes(e.keyAt(), e.keyLen()) }

// Value returns the value; nil for a deletion. It must not be modified.
func (e *Entry) Value() []byte {
	if e.Deleted() {
		return nil
	}
	return e.bytes(e.keyAt()+e.keyLen(), e.Len())
}

// KeyValue returns the key and the value behind it, in one slice; only the key for a deletion. It must not be modified.
func (e *Entry) KeyValue() []byte {
	if e.Deleted() {
		return e.Key()
	}
	return e.bytes(e.keyAt(), e.keyLen()+e.Len())
}

// Len returns the length of the value.
func (e *Entry) Len() int { return int(e.vlen &^ flagBit) }

// Version returns the version of the write that made the entry.
func (e *Entry) Version() uint64 { return e.version }

// Purge reports whether the entry is no version of its key, but says that versions before its own were erased: all of them,
// or all but the current one. Only a [Journal] is given such entries.
func (e *Entry) Purge() (purge, all bool) {
	k := e.control()
	return k == controlPurge || k == controlPurgeAll, k == controlPurgeAll
}

// Deleted reports whether the entry stands for a deletion. Only [Store.Walk], a [Journal] and a key's history have such
// entries.
func (e *Entry) Deleted() bool { return e.vlen&flagBit != 0 }

// Expiry returns when the key expires, in Unix milliseconds; 0: never.
func (e *Entry) Expiry() uint64 {
	if e.klen&flagBit == 0 {
		return 0
	}
	return *(*uint64)(unsafe.Add(unsafe.Pointer(e), entryHeader))
}

// Size returns about how many bytes the entry takes in memory. A journal writes fewer.
func (e *Entry) Size() int { return e.size() }

// entryOf returns the entry that a value of at least one byte is part of.
func entryOf(value []byte, keyLen int, expires bool) *Entry {
	at := entryHeader + keyLen
	if expires {
		at += expirySize
	}
	// Safe: the value is behind the entry's header and key, in one object.
	return (*Entry)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(value)), -at))
}

// size is the number of bytes of the object.
func (e *Entry) size() int { return e.keyAt() + e.keyLen() + e.Len() }

// demand returns what the store takes for it.
func (e *Entry) demand() demand { return demandOf(e.keyLen(), e.Len()) }
