// Package frame is the outer form of the files that a store keeps: a header, and then frames with checksums, one behind
// the other. What the frames hold is not its concern. A frame is written with an [Encoder] and read with a [Reader],
// which finds the next valid one where some are not.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// All integers are big-endian.
//
// The header:
//
//	0        6         8          16         24         32      36
//	+--------+---------+----------+----------+----------+-------+
//	| magic  | format  | store id | sequence | base     | CRC   |
//	| 6      | u16 = 1 | u64      | u64      | u64      | u32   |
//	+--------+---------+----------+----------+----------+-------+
//
// magic says what kind of file it is: "kv-log" or "kv-snp". The store id is a random number that all files of a folder
// share. base is the log position of the file's first byte (of a snapshot: of the log that it begins with): positions
// count all bytes of all logs since the store was made, so they can be compared across files. The CRC is that of the 32
// bytes before it. The header stays as it is in later formats.
//
// A frame:
//
//	0       4         12
//	+-------+---------+------+
//	| CRC   | length  | body |
//	| u32   | u64     |      |
//	+-------+---------+------+
//
// The CRC (CRC-32C) covers the length and the body, and begins with that of the file's header: so a frame is valid only in
// the file that it was written to, and a value that imitates a frame is not taken for one.
//
// The numbers are frozen: they are in files.
const (
	// MagicLog and MagicSnapshot are the kinds of file that a data folder has.
	MagicLog      = "kv-log"
	MagicSnapshot = "kv-snp"
	// MagicReplicaLog and MagicReplicaSnapshot are those that the folder of a node of a cluster has.
	MagicReplicaLog      = "kv-rlg"
	MagicReplicaSnapshot = "kv-rst"
	// MagicEarlyLog and MagicEarlySnapshot are those that it had before 0.1.0, whose members had no formats: what is in
	// such files can't be read.
	MagicEarlyLog      = "kv-rft"
	MagicEarlySnapshot = "kv-rsn"
	// HeaderSize is the length of a file's header, Overhead that of a frame without its body.
	HeaderSize = 36
	Overhead   = 12

	formatVersion = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the first bytes of a file.
type Header struct {
	Magic string // what kind of file it is: six bytes
	ID    uint64 // of the store
	Seq   uint64 // the file's number
	Base  int64  // the position of its first byte
}

// Append appends the header's HeaderSize bytes to b.
func (h Header) Append(b []byte) []byte {
	at := len(b)
	b = append(b, h.Magic...)
	b = binary.BigEndian.AppendUint16(b, formatVersion)
	b = binary.BigEndian.AppendUint64(b, h.ID)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Base))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// Seed is what the CRCs of the file's frames begin with.
func (h Header) Seed() uint32 {
	return crc32.Checksum(h.Append(nil), castagnoli)
}

// ErrNewer is the error of a file in a format that is not known here.
var ErrNewer = errors.New("written by a newer version of kvd")

// ParseHeader reads a header. The errors say what is wrong with it.
func ParseHeader(b []byte, magic string) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%d bytes are too few for a header", len(b))
	}
	if string(b[:6]) != magic {
		return Header{}, fmt.Errorf("the first bytes are %q, not %q", b[:6], magic)
	}
	if crc32.Checksum(b[:HeaderSize-4], castagnoli) != binary.BigEndian.Uint32(b[HeaderSize-4:]) {
		return Header{}, errors.New("the header's checksum is wrong")
	}
	if v := binary.BigEndian.Uint16(b[6:]); v != formatVersion {
		return Header{}, fmt.Errorf("format %d: %w", v, ErrNewer)
	}
	h := Header{magic, binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:]), int64(binary.BigEndian.Uint64(b[24:]))}
	if h.Base < 0 {
		return Header{}, errors.New("the base is not a position")
	}
	return h, nil
}

// Sum returns the CRC of a frame whose length and body, head[4:] and the rest, come in these parts. seed is the file's.
func Sum(seed uint32, parts ...[]byte) uint32 {
	for _, p := range parts {
		seed = crc32.Update(seed, castagnoli, p)
	}
	return seed
}

// Valid reports whether b, a whole frame, has the CRC that belongs to it in the file with this seed.
func Valid(seed uint32, b []byte) bool {
	return crc32.Update(seed, castagnoli, b[4:]) == binary.BigEndian.Uint32(b)
}

// Seal gives b, a whole frame with its length, its CRC.
func Seal(seed uint32, b []byte) {
	binary.BigEndian.PutUint32(b, crc32.Update(seed, castagnoli, b[4:]))
}
