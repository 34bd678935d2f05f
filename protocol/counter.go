package protocol

import "encoding/binary"

// Incr adds By to the number that Key holds in decimal; an absent key holds 0. The key's expiry stays.
type Incr struct {
	Key         []byte
	By          int64
	Conditional bool   // apply only if the key's version is IfVersion
	IfVersion   uint64 // 0: only if the key is absent
	TTL         uint64 // for a key that is absent: milliseconds until it expires; 0: never
	ExpireAt    uint64 // the same as a time, in Unix milliseconds. It excludes TTL
}

// AppendTo appends the whole frame of r.
func (r Incr) AppendTo(dst []byte, id uint32) []byte {
	o := options{r.Conditional, r.IfVersion, r.TTL, r.ExpireAt}
	flags, size := o.flags()
	dst = AppendHeader(dst, OpIncr, flags, id, size+8+len(r.Key))
	dst = o.appendTo(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.By))
	return append(dst, r.Key...)
}

// ParseIncr reads the body of an INCR.
func ParseIncr(flags uint8, body []byte) (Incr, error) {
	r := reader{b: body}
	o, err := r.options(OpIncr, flags)
	if err != nil {
		return Incr{}, err
	}
	q := Incr{Conditional: o.conditional, IfVersion: o.ifVersion, TTL: o.ttl, ExpireAt: o.expireAt,
		By: int64(r.u64()), Key: r.rest()}
	if r.bad {
		return q, badf("INCR: the body of %d bytes is shorter than its options and 8 bytes of number", len(body))
	}
	return q, nil
}

// IncrResponse is the answer to an INCR.
type IncrResponse struct {
	Value   int64
	Version uint64
}

// AppendTo appends the whole response frame of p.
func (p IncrResponse) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpIncr, uint8(StatusOK), id, 16)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Value))
	return binary.BigEndian.AppendUint64(dst, p.Version)
}

// ParseIncrResponse reads the OK body of an INCR.
func ParseIncrResponse(body []byte) (IncrResponse, error) {
	r := reader{b: body}
	p := IncrResponse{Value: int64(r.u64()), Version: r.u64()}
	if !r.done() {
		return p, malformedf("INCR: an answer of %d bytes, not 16", len(body))
	}
	return p, nil
}
