package protocol

import "encoding/binary"

// Set gives one key a value.
type Set struct {
	Key, Value  []byte
	Conditional bool   // apply only if the key's version is IfVersion
	IfVersion   uint64 // 0: only if the key is absent
	TTL         uint64 // milliseconds until the key expires; 0: never
	ExpireAt    uint64 // when the key expires, in Unix milliseconds; 0: never. It excludes TTL
}

// AppendTo appends the whole frame of r.
func (r Set) AppendTo(dst []byte, id uint32) []byte {
	o := options{r.Conditional, r.IfVersion, r.TTL, r.ExpireAt}
	flags, size := o.flags()
	dst = AppendHeader(dst, OpSet, flags, id, size+4+len(r.Key)+len(r.Value))
	dst = appendBytes(o.appendTo(dst), r.Key)
	return append(dst, r.Value...)
}

// ParseSet reads the body of a SET.
func ParseSet(flags uint8, body []byte) (Set, error) {
	r := reader{b: body}
	o, err := r.options(OpSet, flags)
	q := Set{Conditional: o.conditional, IfVersion: o.ifVersion, TTL: o.ttl, ExpireAt: o.expireAt}
	if err != nil {
		return q, err
	}
	q.Key = r.bytes(uint64(r.u32()))
	q.Value = r.rest()
	if r.bad {
		return q, badf("SET: the body of %d bytes is shorter than its options and key say", len(body))
	}
	return q, nil
}

// Pair is a key and its value.
type Pair struct{ Key, Value []byte }

// AppendMSet appends the whole frame of an MSET.
func AppendMSet(dst []byte, id uint32, pairs ...Pair) []byte {
	n := 4
	for _, p := range pairs {
		n += 8 + len(p.Key) + len(p.Value)
	}
	dst = AppendHeader(dst, OpMSet, 0, id, n)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(pairs)))
	for _, p := range pairs {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.Key)))
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(p.Value)))
		dst = append(dst, p.Key...)
		dst = append(dst, p.Value...)
	}
	return dst
}

// ParseMSet reads the body of an MSET and appends its pairs to dst, in the order sent: of equal keys the last wins.
func ParseMSet(dst []Pair, body []byte) ([]Pair, error) {
	r := reader{b: body}
	for n := r.count(8); n > 0 && !r.bad; n-- {
		klen, vlen := r.u32(), r.u32()
		dst = append(dst, Pair{r.bytes(uint64(klen)), r.bytes(uint64(vlen))})
	}
	if !r.done() {
		return dst, badf("MSET: a body of %d bytes does not hold the pairs that it counts, and no more", len(body))
	}
	return dst, nil
}

// AppendVersion appends the response of a SET, an MSET, a ROLLBACK, an EXPIRE or a PERSIST.
func AppendVersion(dst []byte, op Opcode, id uint32, version uint64) []byte {
	dst = AppendHeader(dst, op, uint8(StatusOK), id, 8)
	return binary.BigEndian.AppendUint64(dst, version)
}

// ParseVersion reads the OK body of a SET, an MSET, a ROLLBACK, an EXPIRE or a PERSIST.
func ParseVersion(body []byte) (uint64, error) {
	r := reader{b: body}
	v := r.u64()
	if !r.done() {
		return 0, malformedf("an answer of %d bytes where a version has 8", len(body))
	}
	return v, nil
}
