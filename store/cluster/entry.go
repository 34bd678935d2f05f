package cluster

import (
	"encoding/binary"
	"errors"
)

// The data of an entry of the log is a batch: what says whose it is, and then what the state machine is given. Integers are
// big-endian. An entry without data is the first one of a term, which the library appends.
//
//	0      1       5      13      21      29       37
//	+------+-------+------+-------+-------+--------+----
//	| kind | group | node | nonce | epoch | number | payload ...
//	| 1    | u32   | u64  | u64   | u64   | u64    |
//	+------+-------+------+-------+-------+--------+----
//
// The group is 0: there is one. The numbers are frozen: they are in files.
const (
	kindBatch   = 1
	batchHeader = 37
)

// batchID says which batch an entry is (C4).
type batchID struct {
	node, nonce, epoch, number uint64
}

func putBatchHeader(b []byte, group uint32, id batchID) {
	b[0] = kindBatch
	binary.BigEndian.PutUint32(b[1:], group)
	binary.BigEndian.PutUint64(b[5:], id.node)
	binary.BigEndian.PutUint64(b[13:], id.nonce)
	binary.BigEndian.PutUint64(b[21:], id.epoch)
	binary.BigEndian.PutUint64(b[29:], id.number)
}

var (
	errNoBatch     = errors.New("an entry of the log is not a batch: it was written by a newer version")
	errOtherGroups = errors.New("an entry of the log is of another group")
)

// parseBatch reads the header of an entry's data. The payload is what is behind it.
func parseBatch(data []byte, group uint32) (id batchID, payload []byte, err error) {
	switch {
	case len(data) < batchHeader || data[0] != kindBatch:
		return id, nil, errNoBatch
	case binary.BigEndian.Uint32(data[1:]) != group:
		return id, nil, errOtherGroups
	}
	id = batchID{
		node:   binary.BigEndian.Uint64(data[5:]),
		nonce:  binary.BigEndian.Uint64(data[13:]),
		epoch:  binary.BigEndian.Uint64(data[21:]),
		number: binary.BigEndian.Uint64(data[29:]),
	}
	return id, data[batchHeader:], nil
}
