package protocol

import "encoding/binary"

// Purge erases the past of keys: of those that are named, or of a page of those that begin with a prefix.
type Purge struct {
	Keys [][]byte

	ByPrefix bool   // the rest says which keys, and there are no Keys
	Cursor   []byte // empty: the first page; else as the page before gave it; at most 65535 bytes
	Prefix   []byte
}

// AppendTo appends the whole frame of r.
func (r Purge) AppendTo(dst []byte, id uint32) []byte {
	if !r.ByPrefix {
		return AppendKeys(dst, OpPurge, 0, id, r.Keys...)
	}
	dst = AppendHeader(dst, OpPurge, FlagByPrefix, id, 2+len(r.Cursor)+len(r.Prefix))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Cursor)))
	dst = append(dst, r.Cursor...)
	return append(dst, r.Prefix...)
}

// ParsePurge reads the body of a PURGE, and appends the keys that it names to keys.
func ParsePurge(keys [][]byte, flags uint8, body []byte) (q Purge, err error) {
	if flags&FlagByPrefix == 0 {
		q.Keys, err = ParseKeys(keys, body)
		return q, err
	}
	r := reader{b: body}
	q.ByPrefix = true
	q.Cursor = r.bytes(uint64(r.u16()))
	q.Prefix = r.rest()
	if r.bad {
		return q, badf("PURGE: the body of %d bytes is shorter than its cursor says", len(body))
	}
	return q, nil
}

// PurgeResponse is the answer to a PURGE.
type PurgeResponse struct {
	Erased  uint64 // how many versions went, deletions included
	Version uint64 // of the erasure; 0: there was nothing to erase, nor anybody to be told
	Cursor  []byte // by prefix: of the next page; empty: this was the last
}

// AppendTo appends the whole response frame of p.
func (p PurgeResponse) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpPurge, uint8(StatusOK), id, 16+len(p.Cursor))
	dst = binary.BigEndian.AppendUint64(dst, p.Erased)
	dst = binary.BigEndian.AppendUint64(dst, p.Version)
	return append(dst, p.Cursor...)
}

// ParsePurgeResponse reads the OK body of a PURGE.
func ParsePurgeResponse(body []byte) (PurgeResponse, error) {
	r := reader{b: body}
	p := PurgeResponse{Erased: r.u64(), Version: r.u64(), Cursor: r.rest()}
	if r.bad {
		return p, malformedf("PURGE: an answer of %d bytes, fewer than 16", len(body))
	}
	return p, nil
}
