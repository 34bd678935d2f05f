package protocol

import "encoding/binary"

// options are what SET, INCR, EXPIRE and PERSIST may have before the rest of their bodies, each where its flag is set, in
// this order:
//
//	0x01 IF_VERSION  u64 version
//	0x02 TTL         u64 milliseconds, above 0
//	0x04 EXPIRE_AT   u64 Unix milliseconds, above 0; not together with TTL
type options struct {
	conditional bool
	ifVersion   uint64
	ttl         uint64
	expireAt    uint64
}

// flags are those of the options that are present; size is how many bytes they take.
func (o options) flags() (flags uint8, size int) {
	if o.conditional {
		flags |= FlagIfVersion
		size += 8
	}
	if o.ttl != 0 {
		flags |= FlagTTL
		size += 8
	}
	if o.expireAt != 0 {
		flags |= FlagExpireAt
		size += 8
	}
	return flags, size
}

func (o options) appendTo(dst []byte) []byte {
	if o.conditional {
		dst = binary.BigEndian.AppendUint64(dst, o.ifVersion)
	}
	if o.ttl != 0 {
		dst = binary.BigEndian.AppendUint64(dst, o.ttl)
	}
	if o.expireAt != 0 {
		dst = binary.BigEndian.AppendUint64(dst, o.expireAt)
	}
	return dst
}

// options reads the options whose flags are set. The caller has to look whether the body was too short.
func (r *reader) options(op Opcode, flags uint8) (o options, err error) {
	if flags&FlagIfVersion != 0 {
		o.conditional = true
		o.ifVersion = r.u64()
	}
	if flags&FlagTTL != 0 {
		if o.ttl = r.u64(); o.ttl == 0 && !r.bad {
			return o, badf("%v with a TTL of 0: it must be above 0 milliseconds", op)
		}
	}
	if flags&FlagExpireAt != 0 {
		if o.expireAt = r.u64(); o.expireAt == 0 && !r.bad {
			return o, badf("%v with an expiry of 0: it is a time in Unix milliseconds, above 0", op)
		}
		if o.ttl != 0 {
			return o, badf("%v with a TTL and an expiry: they exclude each other", op)
		}
	}
	return o, nil
}
