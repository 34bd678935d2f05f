package protocol

import "encoding/binary"

// AppendKeys appends the whole frame of a DEL or an MGET.
func AppendKeys(dst []byte, op Opcode, flags uint8, id uint32, keys ...[]byte) []byte {
	n := 4
	for _, k := range keys {
		n += 4 + len(k)
	}
	dst = AppendHeader(dst, op, flags, id, n)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(keys)))
	for _, k := range keys {
		dst = appendBytes(dst, k)
	}
	return dst
}

// ParseKeys reads the body of a DEL or an MGET and appends its keys to dst.
func ParseKeys(dst [][]byte, body []byte) ([][]byte, error) {
	r := reader{b: body}
	for n := r.count(4); n > 0 && !r.bad; n-- {
		dst = append(dst, r.bytes(uint64(r.u32())))
	}
	if !r.done() {
		return dst, badf("a body of %d bytes does not hold the keys that it counts, and no more", len(body))
	}
	return dst, nil
}

// AppendDeleted appends the response of a DEL.
func AppendDeleted(dst []byte, id uint32, existed uint32, version uint64) []byte {
	dst = AppendHeader(dst, OpDel, uint8(StatusOK), id, 12)
	dst = binary.BigEndian.AppendUint32(dst, existed)
	return binary.BigEndian.AppendUint64(dst, version)
}

// ParseDeleted reads the OK body of a DEL: how many keys existed, and the version of their deletion.
func ParseDeleted(body []byte) (existed uint32, version uint64, err error) {
	r := reader{b: body}
	existed, version = r.u32(), r.u64()
	if !r.done() {
		return 0, 0, malformedf("DEL: an answer of %d bytes, not 12", len(body))
	}
	return existed, version, nil
}
