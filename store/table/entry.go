package table

import (
	"math"
	"unsafe"

	"kv/store/arena"
)

// An entry is one version of one key, immutable once it is published. Offsets are in bytes, words in the machine's order.
//
//	plain   0 u64 version<<12 | 0<<8 | where the value begins   a key of at most 243 bytes, a value of at most mostInline
//	        8 i32 value length
//	        12 key, value
//	long    0 u64 version<<12 | kindLong<<8 | flags
//	        8 i32 value length | notPlain, 12 u32 key length
//	        16 [u64 expiry] [u32 revisions] [u32 large] by flags, in this order
//	           key, and value unless it is large: then its number stands there
//
// The low 12 bits of a plain entry's header say where its value begins, and so how long its key is: one comparison tells
// that an entry is plain and its key as long as the wanted one. A value length above 0 is a plain entry's; a long entry's
// has its top bit set.
const (
	kindPlain  = 0
	kindSwitch = 2
	kindLine   = 3 // an overflow line
	kindLong   = 4

	kindShift    = 8
	kindMask     = 0xf << kindShift
	lowMask      = 1<<versionShift - 1
	versionShift = 12

	flagExpiry    = 1
	flagRevisions = 2
	flagLarge     = 4
	flagDeleted   = 8

	plainKey    = 12
	maxPlainKey = 255 - plainKey
	longFields  = 16
	expiringKey = longFields + 8

	// MaxVersion is the highest version that an entry can have: microseconds until the year 2112.
	MaxVersion = 1<<(64-versionShift) - 1
	// MaxLen is the most bytes that a key or a value may have.
	MaxLen = 1<<31 - 1

	// notPlain is set in the value length of a long entry.
	notPlain = math.MinInt32
)

// head is what every entry begins with.
type head struct {
	word   uint64 // the header: version, kind, and by the kind flags or where the value begins
	length int32  // of the value, with notPlain
}

// Entry is an entry of a table, or none, which is the zero value. It is valid only while the reader that found it is pinned,
// or the caller has its shard locked.
type Entry struct {
	h *head
	t *Table
}

// entryAt returns the entry at p.
func (t *Table) entryAt(p unsafe.Pointer) Entry { return Entry{(*head)(p), t} }

// entry returns the entry that a reference leads to.
func (t *Table) entry(r arena.Ref) Entry { return t.entryAt(t.at(r)) }

// p is where the entry begins.
func (e Entry) p() unsafe.Pointer { return unsafe.Pointer(e.h) }

// Exists reports whether there is an entry.
func (e Entry) Exists() bool { return e.h != nil }

func (e Entry) header() uint64 { return e.h.word }

func u32(p unsafe.Pointer, at int) *uint32 { return (*uint32)(unsafe.Add(p, at)) }

// Version returns the version of the write that made the entry.
func (e Entry) Version() uint64 { return e.header() >> versionShift }

// flags are 0 for a plain entry.
func (e Entry) flags() uint64 {
	if h := e.header(); h&kindMask == kindLong<<kindShift {
		return h & (1<<kindShift - 1)
	}
	return 0
}

// Plain reports, from the header alone, that the entry neither expires nor stands for a deletion. False says nothing: an
// entry with a long key, say, is not plain either.
func (e Entry) Plain() bool { return e.header()&kindMask == kindPlain }

// Deleted reports whether the entry stands for a deletion that is kept.
func (e Entry) Deleted() bool { return e.flags()&flagDeleted != 0 }

// Len returns the length of the value.
func (e Entry) Len() int { return int(e.h.length & MaxLen) }

// Expiry returns when the key expires, in Unix milliseconds; 0: never.
func (e Entry) Expiry() uint64 {
	if e.flags()&flagExpiry == 0 {
		return 0
	}
	return *(*uint64)(unsafe.Add(e.p(), longFields))
}

// revisionsAt returns where the reference to the key's earlier versions is; 0 if there is none.
func (e Entry) revisionsAt() int {
	f := e.flags()
	if f&flagRevisions == 0 {
		return 0
	}
	return longFields + int(f&flagExpiry)*8
}

// large returns the number of the entry's value, if that is large; else 0.
func (e Entry) large() uint32 {
	f := e.flags()
	if f&flagLarge == 0 {
		return 0
	}
	return *u32(e.p(), longFields+int(f&flagExpiry)*8+int(f&flagRevisions)*2)
}

// Large returns the value if it is large, and reports whether it is. A large value is an object of Go's, and stays valid.
func (e Entry) Large() (value []byte, large bool) {
	n := e.large()
	if n == 0 {
		return nil, false
	}
	return unsafe.Slice(e.t.larges.at(n), e.Len()), true
}

// keyAt returns where the key begins, and its length.
func (e Entry) keyAt() (at, n int) {
	h := e.header()
	if h&kindMask == kindPlain {
		return plainKey, int(h&lowMask) - plainKey
	}
	f := h
	return longFields + int(f&flagExpiry)*8 + int(f&flagRevisions)*2 + int(f&flagLarge), int(*u32(e.p(), 12))
}

// Key returns the key. It must not be modified.
func (e Entry) Key() []byte {
	at, n := e.keyAt()
	return bytesAt(e.p(), at, n)
}

// Value returns the value; empty for a deletion. It must not be modified.
func (e Entry) Value() []byte { // so short that the compiler inlines it
	if e.h.length > 0 {
		return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(e.h), e.h.word&0xff)), e.h.length)
	}
	return e.anyValue()
}

// anyValue is Value of an entry of any kind.
func (e Entry) anyValue() []byte {
	if n := e.Len(); n != 0 && isExpiring(e.header()) {
		return unsafe.Slice((*byte)(unsafe.Add(e.p(), expiringKey+int(*u32(e.p(), 12)))), n)
	}
	if v, large := e.Large(); large {
		return v
	}
	at, n := e.keyAt()
	return bytesAt(e.p(), at+n, e.Len())
}

// KeyValue returns the key and the value behind it, in one slice, and the key's length. The value must not be large, and
// the slice not be modified.
func (e Entry) KeyValue() (both []byte, key int) {
	at, n := e.keyAt()
	return bytesAt(e.p(), at, n+e.Len()), n
}

func bytesAt(p unsafe.Pointer, at, n int) []byte {
	if n == 0 {
		return []byte{} // a pointer behind the object's end would point to another object
	}
	return unsafe.Slice((*byte)(unsafe.Add(p, at)), n)
}

// size returns the bytes of the entry, without those of a large value.
func (e Entry) size() int {
	at, n := e.keyAt()
	if e.large() != 0 {
		return at + n
	}
	return at + n + e.Len()
}

// is reports whether e is an entry of key.
func (e Entry) is(key []byte) bool {
	at, n := e.keyAt()
	return n == len(key) && equal(unsafe.Add(e.p(), at), key)
}

// isPlain reports whether this is the header of a plain entry whose key is as long as this one.
func isPlain(header uint64, key []byte) bool {
	return header&lowMask == uint64(len(key)+plainKey) && len(key) <= maxPlainKey
}

// isExpiring reports whether this is the header of a long entry that has an expiry and nothing else besides key and
// value: of the most frequent long ones.
func isExpiring(header uint64) bool { return header&lowMask == kindLong<<kindShift|flagExpiry }

// isLong reports whether this is the header of a long entry.
func isLong(header uint64) bool { return header&kindMask == kindLong<<kindShift }

// equal reports whether the bytes from p on are those of key. Keys of 8 to 16 bytes, the most frequent ones, are compared by two
// loads.
func equal(p unsafe.Pointer, key []byte) bool {
	n := len(key)
	if n >= 8 && n <= 16 {
		return equalShort(p, key)
	}
	return n == 0 || unsafe.String((*byte)(p), n) == string(key)
}

// equalShort is equal for a key of 8 to 16 bytes.
func equalShort(p unsafe.Pointer, key []byte) bool {
	n, k := len(key), unsafe.Pointer(unsafe.SliceData(key))
	return *(*uint64)(p) == *(*uint64)(k) && *(*uint64)(unsafe.Add(p, n-8)) == *(*uint64)(unsafe.Add(k, n-8))
}

// Spec says what an entry is made of.
type Spec struct {
	Key     []byte
	Value   []byte // a large one is not copied, and must stay as it is: see IsLarge
	Expiry  uint64 // Unix milliseconds; 0: none
	Deleted bool   // it stands for a deletion that is kept

	outside   bool   // see Outside: the value is in the entry whatever its length
	large     uint32 // the value's number, if it is large
	revisions bool   // there is room for a reference to earlier versions: see Options.Keeps
}

// Outside makes an entry in Go's memory, which is in no table and stays valid.
func Outside(s Spec, version uint64) Entry {
	s.outside = true
	words := make([]uint64, (s.size()+7)/8)
	p := unsafe.Pointer(unsafe.SliceData(words))
	s.write(p)
	setVersion(p, version)
	return Entry{h: (*head)(p)}
}

// isLarge reports whether the value is not in the entry.
func (s *Spec) isLarge() bool { return IsLarge(len(s.Value)) && !s.outside }

// flags returns the flags of the entry, and whether it has to be a long one.
func (s *Spec) flags() (f uint64, long bool) {
	if s.Expiry != 0 {
		f |= flagExpiry
	}
	if s.revisions {
		f |= flagRevisions
	}
	if s.isLarge() {
		f |= flagLarge
	}
	if s.Deleted {
		f |= flagDeleted
	}
	return f, f != 0 || len(s.Key) > maxPlainKey
}

// size returns the bytes of the entry.
func (s *Spec) size() int {
	f, long := s.flags()
	n := plainKey
	if long {
		n = longFields + int(f&flagExpiry)*8 + int(f&flagRevisions)*2 + int(f&flagLarge)
	}
	n += len(s.Key)
	if !s.isLarge() {
		n += len(s.Value)
	}
	return n
}

// write makes the entry at p. Its version is 0.
func (s *Spec) write(p unsafe.Pointer) {
	f, long := s.flags()
	at := plainKey
	e := (*head)(p)
	e.length = int32(len(s.Value))
	if !long {
		e.word = uint64(plainKey + len(s.Key))
	} else {
		e.word = kindLong<<kindShift | f
		e.length |= notPlain
		*u32(p, 12) = uint32(len(s.Key))
		at = longFields
		if f&flagExpiry != 0 {
			*(*uint64)(unsafe.Add(p, at)) = s.Expiry
			at += 8
		}
		if f&flagRevisions != 0 {
			*u32(p, at) = 0
			at += 4
		}
		if f&flagLarge != 0 {
			*u32(p, at) = s.large
			at += 4
		}
	}
	copy(bytesAt(p, at, len(s.Key)), s.Key)
	if !s.isLarge() {
		copy(bytesAt(p, at+len(s.Key), len(s.Value)), s.Value)
	}
}

// setVersion is for an entry that is not published yet.
func setVersion(p unsafe.Pointer, version uint64) {
	w := (*uint64)(p)
	*w = version<<versionShift | *w&lowMask
}
