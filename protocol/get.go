package protocol

import "encoding/binary"

// Get asks for the value of one key.
type Get struct {
	Key       []byte
	WithMeta  bool
	AtVersion uint64 // not 0: the value that the key had in this kept version
}

// AppendTo appends the whole frame of r.
func (r Get) AppendTo(dst []byte, id uint32) []byte {
	var flags uint8
	n := len(r.Key)
	if r.WithMeta {
		flags |= FlagWithMeta
	}
	if r.AtVersion != 0 {
		flags |= FlagAtVersion
		n += 8
	}
	dst = AppendHeader(dst, OpGet, flags, id, n)
	if r.AtVersion != 0 {
		dst = binary.BigEndian.AppendUint64(dst, r.AtVersion)
	}
	return append(dst, r.Key...)
}

// ParseGet reads the body of a GET.
func ParseGet(flags uint8, body []byte) (Get, error) {
	r := reader{b: body}
	q := Get{WithMeta: flags&FlagWithMeta != 0}
	if flags&FlagAtVersion != 0 {
		if q.AtVersion = r.u64(); q.AtVersion == 0 {
			return q, badf("GET at a version needs 8 bytes of version, above 0")
		}
	}
	q.Key = r.rest()
	return q, nil
}

// ParseValue reads the OK body of a GET.
func ParseValue(withMeta bool, body []byte) (Value, error) {
	r := reader{b: body}
	v := Value{Found: true}
	if withMeta {
		v.Meta = r.meta()
	}
	v.Data = r.rest()
	if r.bad {
		return v, malformedf("GET: an answer of %d bytes has no room for version and expiry", len(body))
	}
	return v, nil
}

// MGetHeadSize is how long the body of an answer to MGET is without its values.
const MGetHeadSize = 4

// AppendMGetHead appends the header and the body's head of the answer to an MGET of n keys. So many values follow, or
// what stands in their place; bodySize counts them too.
func AppendMGetHead(dst []byte, id uint32, bodySize, n int) []byte {
	dst = AppendHeader(dst, OpMGet, uint8(StatusOK), id, bodySize)
	return AppendLength(dst, n)
}

// AppendValues appends the response of an MGET.
func AppendValues(dst []byte, id uint32, withMeta bool, values []Value) []byte {
	size := MGetHeadSize
	for _, v := range values {
		size += valueSize(withMeta, v)
	}
	dst = AppendMGetHead(dst, id, size, len(values))
	for _, v := range values {
		dst = appendValue(dst, withMeta, v)
	}
	return dst
}

// ParseValues reads the OK body of an MGET and appends its values to dst.
func ParseValues(dst []Value, withMeta bool, body []byte) ([]Value, error) {
	r := reader{b: body}
	for n := r.count(4); n > 0 && !r.bad; n-- {
		dst = append(dst, r.value(withMeta))
	}
	if !r.done() {
		return dst, malformedf("MGET: an answer of %d bytes does not hold the values that it counts, and no more", len(body))
	}
	return dst, nil
}
