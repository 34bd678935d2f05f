package frame

import "encoding/binary"

// In a log, whatever else its frames hold, each body begins with two numbers:
//
//	0        8        16
//	+--------+--------+----
//	| number | synced | ...
//	| u64    | u64    |
//	+--------+--------+----
//
// number rises from record to record; synced is the log position up to which the log was on disk, for certain, when the
// record was written: what makes it possible to judge a bad one. Number 0 is no record but a mark, written when the log
// has come to rest so that its synced position is on record; what follows synced is then ignored.

// RecordHead is the length of the two.
const RecordHead = 16

// AppendRecord appends the head of a record.
func AppendRecord(b []byte, number uint64, synced int64) []byte {
	b = binary.BigEndian.AppendUint64(b, number)
	return binary.BigEndian.AppendUint64(b, uint64(synced))
}

// ParseRecord reads the head of a record. What it holds begins at body[RecordHead:].
func ParseRecord(body []byte) (number uint64, synced int64, ok bool) {
	if len(body) < RecordHead {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(body), int64(binary.BigEndian.Uint64(body[8:])), true
}

// MarkSize is the length of a mark with its frame.
const MarkSize = Overhead + RecordHead

// Mark adds a mark.
func (e *Encoder) Mark(synced int64) {
	e.Begin()
	e.Buf = AppendRecord(e.Buf, 0, synced)
	e.End()
}
