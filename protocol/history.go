package protocol

import "encoding/binary"

// History asks for the kept versions of a key, newest first.
type History struct {
	Limit uint32 // 0: all that are kept
	Key   []byte
}

// AppendTo appends the whole frame of r.
func (r History) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpHistory, 0, id, 4+len(r.Key))
	dst = binary.BigEndian.AppendUint32(dst, r.Limit)
	return append(dst, r.Key...)
}

// ParseHistory reads the body of a HISTORY.
func ParseHistory(body []byte) (History, error) {
	r := reader{b: body}
	q := History{Limit: r.u32(), Key: r.rest()}
	if r.bad {
		return q, badf("HISTORY needs 4 bytes of limit before the key, the body has %d", len(body))
	}
	return q, nil
}

// Revision is one kept version of a key: a value, or its deletion.
type Revision struct {
	Version uint64
	Time    uint64 // when it was written, in Unix microseconds
	Value   Value  // not found: this version is a deletion
}

// HistoryHeadSize is how long the body of an answer to HISTORY is without its revisions.
const HistoryHeadSize = 4

// AppendHistoryHead appends the header and the body's head of the answer to a HISTORY. n revisions follow: what
// AppendRevision appends, and a value without version and expiry, or what stands in its place. bodySize counts them
// too.
func AppendHistoryHead(dst []byte, id uint32, bodySize, n int) []byte {
	dst = AppendHeader(dst, OpHistory, uint8(StatusOK), id, bodySize)
	return AppendLength(dst, n)
}

// RevisionSize is how many bytes AppendRevision appends.
const RevisionSize = 16

// AppendRevision appends what stands before a revision's value: its version, and when it was written, in Unix microseconds.
func AppendRevision(dst []byte, version, time uint64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, version)
	return binary.BigEndian.AppendUint64(dst, time)
}

// AppendHistory appends the response of a HISTORY.
func AppendHistory(dst []byte, id uint32, revisions []Revision) []byte {
	size := HistoryHeadSize
	for _, v := range revisions {
		size += RevisionSize + valueSize(false, v.Value)
	}
	dst = AppendHistoryHead(dst, id, size, len(revisions))
	for _, v := range revisions {
		dst = appendValue(AppendRevision(dst, v.Version, v.Time), false, v.Value)
	}
	return dst
}

// ParseHistoryResponse reads the OK body of a HISTORY.
func ParseHistoryResponse(body []byte) ([]Revision, error) {
	r := reader{b: body}
	var revisions []Revision
	for n := r.count(20); n > 0 && !r.bad; n-- {
		v := Revision{Version: r.u64(), Time: r.u64()}
		v.Value = r.value(false)
		revisions = append(revisions, v)
	}
	if !r.done() {
		return nil, malformedf("HISTORY: an answer of %d bytes does not hold the versions that it counts, and no more", len(body))
	}
	return revisions, nil
}

// Rollback makes a new version of a key, equal to a kept one.
type Rollback struct {
	Version uint64
	Key     []byte
}

// AppendTo appends the whole frame of r.
func (r Rollback) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpRollback, 0, id, 8+len(r.Key))
	dst = binary.BigEndian.AppendUint64(dst, r.Version)
	return append(dst, r.Key...)
}

// ParseRollback reads the body of a ROLLBACK.
func ParseRollback(body []byte) (Rollback, error) {
	r := reader{b: body}
	q := Rollback{Version: r.u64(), Key: r.rest()}
	if r.bad {
		return q, badf("ROLLBACK needs 8 bytes of version before the key, the body has %d", len(body))
	}
	return q, nil
}
