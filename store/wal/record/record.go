// Package record is what the frames of a store's files hold: the records of its log, which are writes, and the blocks
// of its snapshots.
package record

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"kv/store"
	"kv/store/wal/frame"
)

// The body of a log's frame is a record: what one write request left of each key that it changed.
//
//	0         8        16
//	+---------+--------+-------+-------+----
//	| version | synced | entry | entry | ...
//	| u64     | u64    |       |       |
//	+---------+--------+-------+-------+----
//
// synced is the log position up to which the log was on disk, for certain, when the record was written. Version 0 is no
// write: a mark, written when the log has come to rest so that its synced position is on record; what follows synced is then
// ignored.
//
// An entry:
//
//	0       1            5              9          [17]
//	+-------+------------+--------------+----------+-----+-------+
//	| flags | key length | value length | [expiry] | key | value |
//	| u8    | u32        | u32          | [u64]    |     |       |
//	+-------+------------+--------------+----------+-----+-------+
//
// Flags: 1 = the key was deleted, 2 = there is an expiry, in Unix milliseconds, 4 = no version, but the erasure of
// those before this one: with 1 of all, else of all but the one that was current. Only in the log of a store that is
// one of several, and with 2 and an empty key: 8 = what is in the place of the expiry is the time, 16 = it is the
// version up to which history is given up, 32 = how many earlier versions of a key are kept, 64 = for how many
// microseconds and one more, 1: for any time. The numbers are frozen: they are in files.
const (
	// EntryOverhead is the least length of an entry.
	EntryOverhead = 9

	flagDeleted = 1
	flagExpires = 2
	flagPurge   = 4
	flagTime    = 8
	flagForget  = 16
	flagDepth   = 32
	flagAge     = 64
	flagControl = flagTime | flagForget | flagDepth | flagAge
)

// Encode adds a record, whose entries need not have their version, as a frame. Version 0: a mark.
func Encode(e *frame.Encoder, version uint64, synced int64, entries []*store.Entry) {
	e.Begin()
	e.Buf = frame.AppendRecord(e.Buf, version, synced)
	for _, x := range entries {
		EncodeEntry(e, x)
	}
	e.End()
}

// EncodeEntry adds an entry to the body of the frame that was begun.
func EncodeEntry(e *frame.Encoder, x *store.Entry) {
	if x.Len() < frame.LargeValue {
		e.Buf = appendEntry(e.Buf, x)
		return
	}
	e.Buf = appendEntryKey(e.Buf, x)
	e.Value(x.Value())
}

// appendEntryKey appends an entry as far as its value.
func appendEntryKey(b []byte, x *store.Entry) []byte { return append(appendHead(b, x), x.Key()...) }

// appendEntry appends an entry.
func appendEntry(b []byte, x *store.Entry) []byte { return append(appendHead(b, x), x.KeyValue()...) }

// appendHead appends an entry as far as its key.
func appendHead(b []byte, x *store.Entry) []byte {
	var flags byte
	length := x.Len()
	if x.Deleted() {
		flags, length = deletionFlags(x), 0
	}
	expiry := x.Expiry()
	if expiry != 0 {
		flags |= flagExpires
	}
	at := len(b)
	b = slices.Grow(b, EntryOverhead)[:at+EntryOverhead]
	head := b[at:]
	head[0] = flags
	binary.BigEndian.PutUint32(head[1:], uint32(len(x.Key())))
	binary.BigEndian.PutUint32(head[5:], uint32(length))
	if expiry != 0 {
		b = binary.BigEndian.AppendUint64(b, expiry)
	}
	return b
}

// deletionFlags returns the flags of a deletion, and of what else has no value.
func deletionFlags(x *store.Entry) byte {
	if purge, all := x.Purge(); purge {
		if all {
			return flagPurge | flagDeleted
		}
		return flagPurge
	}
	if _, is := x.Time(); is {
		return flagTime
	}
	if _, is := x.Forget(); is {
		return flagForget
	}
	if _, is := x.Depth(); is {
		return flagDepth
	}
	if _, is := x.Age(); is {
		return flagAge
	}
	return flagDeleted
}

// Size is how long a write's record is.
func Size(entries []*store.Entry) int {
	n := frame.MarkSize
	for _, e := range entries {
		n += EntryOverhead + len(e.Key()) + len(e.Value())
		if e.Expiry() != 0 {
			n += 8
		}
	}
	return n
}

// AppendEntries appends entries as a record holds them.
func AppendEntries(b []byte, entries []*store.Entry) []byte {
	for _, e := range entries {
		b = appendEntry(b, e)
	}
	return b
}

// Append appends a record that is to be sealed.
func Append(b []byte, version uint64, entries []*store.Entry) []byte {
	at := len(b)
	b = frame.AppendRecord(append(b, make([]byte, frame.Overhead)...), version, 0)
	b = AppendEntries(b, entries)
	binary.BigEndian.PutUint64(b[at+4:], uint64(len(b)-at-frame.Overhead))
	return b
}

// Seal completes records, one behind the other, with the position of the last sync, and their checksums.
func Seal(records []byte, synced int64, seed uint32) {
	for len(records) > 0 {
		n := frame.Overhead + int(binary.BigEndian.Uint64(records[4:]))
		binary.BigEndian.PutUint64(records[frame.Overhead+8:], uint64(synced))
		frame.Seal(seed, records[:n])
		records = records[n:]
	}
}

// Valid reports whether body is a record, or a mark.
func Valid(body []byte) bool {
	_, ok := Count(body)
	return ok
}

// Count returns how many entries a record has, none if it is a mark, and whether it is valid.
func Count(body []byte) (entries int64, ok bool) {
	version, _, ok := frame.ParseRecord(body)
	if !ok || version == 0 {
		return 0, ok
	}
	var e Entry
	for b := body[frame.RecordHead:]; len(b) > 0; entries++ {
		if b, ok = ParseEntry(b, &e); !ok {
			return 0, false
		}
	}
	return entries, true
}

// Entry is an encoded entry, its key and value within the body that it was read from.
type Entry struct {
	Key, Value []byte
	Expiry     uint64 // in Unix milliseconds; 0: none
	Deleted    bool
	Purge      bool // Deleted then says whether it is of all
	Time       bool // Expiry is the time: see store.NewTime
	Forget     bool // Expiry is a version: see store.NewForget
	Depth      bool // Expiry is a number: see store.NewDepth
	Age        bool // Expiry is microseconds and one: see store.NewAge
}

// ParseEntry reads the entry at the start of b into e, and returns what is behind it. It fills e in, instead of returning an
// Entry: the copy of words that were stored a moment ago would have to wait for the stores.
func ParseEntry(b []byte, e *Entry) (rest []byte, ok bool) {
	*e = Entry{}
	if len(b) < EntryOverhead {
		return nil, false
	}
	flags := b[0]
	klen, vlen := uint64(binary.BigEndian.Uint32(b[1:])), uint64(binary.BigEndian.Uint32(b[5:]))
	b = b[EntryOverhead:]
	if flags&^(flagDeleted|flagExpires|flagPurge|flagControl) != 0 || klen > store.MaxLen || vlen > store.MaxLen {
		return nil, false
	}
	e.Time, e.Forget = flags == flagTime|flagExpires, flags == flagForget|flagExpires
	e.Depth, e.Age = flags == flagDepth|flagExpires, flags == flagAge|flagExpires
	if flags&flagControl != 0 && (!e.Time && !e.Forget && !e.Depth && !e.Age || klen != 0 || vlen != 0) {
		return nil, false
	}
	e.Deleted, e.Purge = flags&flagDeleted != 0, flags&flagPurge != 0
	if flags&flagExpires != 0 {
		if len(b) < 8 {
			return nil, false
		}
		e.Expiry = binary.BigEndian.Uint64(b)
		b = b[8:]
		if e.Expiry == 0 || e.Deleted || e.Purge {
			return nil, false
		}
	}
	if klen+vlen > uint64(len(b)) || (e.Deleted || e.Purge) && vlen != 0 {
		return nil, false
	}
	e.Key, e.Value = b[:klen:klen], b[klen:klen+vlen:klen+vlen]
	return b[klen+vlen:], true
}

// isValue reports whether the entry is a value of its key, and nothing else.
func (e *Entry) isValue() bool {
	return !e.Deleted && !e.Purge && !e.Time && !e.Forget && !e.Depth && !e.Age
}

// MakeIn is Make, in the memory of m if the entry is a value.
func (e *Entry) MakeIn(m *store.Maker, version uint64) *store.Entry {
	if !e.isValue() {
		return e.Make(version)
	}
	return m.Entry(version, e.Key, e.Value, e.Expiry)
}

// Make makes the store's entry.
func (e *Entry) Make(version uint64) *store.Entry {
	switch {
	case e.Time:
		return store.NewTime(version, e.Expiry)
	case e.Forget:
		return store.NewForget(version, e.Expiry)
	case e.Depth:
		return store.NewDepth(version, int(min(e.Expiry, math.MaxInt32)))
	case e.Age:
		return store.NewAge(version, time.Duration(min(e.Expiry-1, math.MaxInt64/1000))*time.Microsecond)
	case e.Purge:
		return store.NewPurge(version, e.Key, e.Deleted)
	}
	return store.NewEntry(version, e.Key, e.Value, e.Expiry, e.Deleted)
}
