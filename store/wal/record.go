package wal

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"kv/store"
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
// Flags: 1 = the key was deleted, 2 = there is an expiry, in Unix milliseconds, 4 = no version, but the erasure of those before
// this one: with 1 of all, else of all but the one that was current. The numbers are frozen: they are in files.
const (
	recordHeader = 16
	entryHeader  = 9

	flagDeleted = 1
	flagExpires = 2
	flagPurge   = 4
)

// encoder collects encoded frames for few and large writes. A value of largeValue bytes and more is not copied.
type encoder struct {
	seed  uint32
	buf   []byte
	large []largeValueAt
	n     int // bytes collected
}

const largeValue = 16 << 10

// largeValueAt is a value that belongs between buf[:at] and buf[at:].
type largeValueAt struct {
	at    int
	value []byte
}

func (e *encoder) reset() {
	if cap(e.buf) > 4*writeChunk {
		e.buf = nil
	}
	clear(e.large)
	e.buf, e.large, e.n = e.buf[:0], e.large[:0], 0
}

// record adds a record, whose entries have no version yet.
func (e *encoder) record(version uint64, synced int64, entries []*store.Entry) {
	at := len(e.buf)
	e.buf = appendRecordHeader(e.buf, version, synced)
	first := len(e.large)
	for _, x := range entries {
		e.entry(x)
	}
	e.end(at, first)
}

// frame adds a frame with this body.
func (e *encoder) frame(body []byte) {
	at := len(e.buf)
	e.buf = append(e.buf, make([]byte, frameHeader)...)
	e.buf = append(e.buf, body...)
	e.end(at, len(e.large))
}

func (e *encoder) entry(x *store.Entry) {
	e.buf = appendEntryKey(e.buf, x)
	value := x.Value()
	if len(value) < largeValue {
		e.buf = append(e.buf, value...)
		return
	}
	e.large = append(e.large, largeValueAt{len(e.buf), value})
}

// appendRecordHeader appends room for a frame's header, and a record as far as its entries.
func appendRecordHeader(b []byte, version uint64, synced int64) []byte {
	b = append(b, make([]byte, frameHeader)...)
	b = binary.BigEndian.AppendUint64(b, version)
	return binary.BigEndian.AppendUint64(b, uint64(synced))
}

// appendEntryKey appends an entry as far as its value.
func appendEntryKey(b []byte, x *store.Entry) []byte {
	var flags byte
	if x.Deleted() {
		flags |= flagDeleted
	}
	length := x.Len()
	if purge, all := x.Purge(); purge {
		if flags, length = flagPurge, 0; all {
			flags |= flagDeleted
		}
	}
	expiry := x.Expiry()
	if expiry != 0 {
		flags |= flagExpires
	}
	key := x.Key()
	b = append(b, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	if expiry != 0 {
		b = binary.BigEndian.AppendUint64(b, expiry)
	}
	return append(b, key...)
}

// end completes the frame that begins at buf[at:], with the large values from large[first:] on.
func (e *encoder) end(at, first int) {
	n := len(e.buf) - at
	for _, l := range e.large[first:] {
		n += len(l.value)
	}
	binary.BigEndian.PutUint64(e.buf[at+4:], uint64(n-frameHeader))
	crc, from := e.seed, at+4
	for _, l := range e.large[first:] {
		crc = crc32.Update(crc, castagnoli, e.buf[from:l.at])
		crc = crc32.Update(crc, castagnoli, l.value)
		from = l.at
	}
	crc = crc32.Update(crc, castagnoli, e.buf[from:])
	binary.BigEndian.PutUint32(e.buf[at:], crc)
	e.n += n
}

// writeTo writes what was collected, and resets e.
func (e *encoder) writeTo(w io.Writer) error {
	from := 0
	for _, l := range e.large {
		if err := writeAll(w, e.buf[from:l.at]); err != nil {
			return err
		}
		if err := writeAll(w, l.value); err != nil {
			return err
		}
		from = l.at
	}
	if err := writeAll(w, e.buf[from:]); err != nil {
		return err
	}
	e.reset()
	return nil
}

func writeAll(w io.Writer, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// parseRecord reads a record's header. The entries begin at body[recordHeader:].
func parseRecord(body []byte) (version uint64, synced int64, ok bool) {
	if len(body) < recordHeader {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(body), int64(binary.BigEndian.Uint64(body[8:])), true
}

// validRecord reports whether body is a record, and how many entries it has.
func validRecord(body []byte) (entries int64, ok bool) {
	version, _, ok := parseRecord(body)
	if !ok || version == 0 {
		return 0, ok
	}
	for b := body[recordHeader:]; len(b) > 0; entries++ {
		if _, b, ok = parseEntry(b); !ok {
			return 0, false
		}
	}
	return entries, true
}

// rawEntry is an encoded entry, its key and value within the body that it was read from.
type rawEntry struct {
	key, value []byte
	expiry     uint64
	deleted    bool
	purge      bool // deleted then says whether it is of all
}

// parseEntry reads the entry at the start of b and returns what is behind it.
func parseEntry(b []byte) (e rawEntry, rest []byte, ok bool) {
	if len(b) < entryHeader {
		return e, nil, false
	}
	flags := b[0]
	klen, vlen := uint64(binary.BigEndian.Uint32(b[1:])), uint64(binary.BigEndian.Uint32(b[5:]))
	b = b[entryHeader:]
	if flags&^(flagDeleted|flagExpires|flagPurge) != 0 || klen > store.MaxLen || vlen > store.MaxLen {
		return e, nil, false
	}
	e.deleted, e.purge = flags&flagDeleted != 0, flags&flagPurge != 0
	if flags&flagExpires != 0 {
		if len(b) < 8 {
			return e, nil, false
		}
		e.expiry = binary.BigEndian.Uint64(b)
		b = b[8:]
		if e.expiry == 0 || e.deleted || e.purge {
			return e, nil, false
		}
	}
	if klen+vlen > uint64(len(b)) || (e.deleted || e.purge) && vlen != 0 {
		return e, nil, false
	}
	e.key, e.value = b[:klen:klen], b[klen:klen+vlen:klen+vlen]
	return e, b[klen+vlen:], true
}

// entry makes the store's entry.
func (e rawEntry) entry(version uint64) *store.Entry {
	if e.purge {
		return store.NewPurge(version, e.key, e.deleted)
	}
	return store.NewEntry(version, e.key, e.value, e.expiry, e.deleted)
}
