package protocol

// Expire gives a key that exists an expiry, and leaves its value as it is. Either TTL or ExpireAt is above 0.
type Expire struct {
	Key         []byte
	TTL         uint64 // milliseconds until the key expires
	ExpireAt    uint64 // when the key expires, in Unix milliseconds
	Conditional bool   // apply only if the key's version is IfVersion
	IfVersion   uint64
}

// AppendTo appends the whole frame of r.
func (r Expire) AppendTo(dst []byte, id uint32) []byte {
	return appendOptionsAndKey(dst, OpExpire, id, options{r.Conditional, r.IfVersion, r.TTL, r.ExpireAt}, r.Key)
}

// ParseExpire reads the body of an EXPIRE.
func ParseExpire(flags uint8, body []byte) (Expire, error) {
	if flags&(FlagTTL|FlagExpireAt) == 0 {
		return Expire{}, badf("EXPIRE needs a TTL or an expiry; to take one away there is PERSIST")
	}
	o, key, err := parseOptionsAndKey(OpExpire, flags, body)
	return Expire{key, o.ttl, o.expireAt, o.conditional, o.ifVersion}, err
}

// Persist takes its expiry from a key that exists.
type Persist struct {
	Key         []byte
	Conditional bool // apply only if the key's version is IfVersion
	IfVersion   uint64
}

// AppendTo appends the whole frame of r.
func (r Persist) AppendTo(dst []byte, id uint32) []byte {
	return appendOptionsAndKey(dst, OpPersist, id, options{conditional: r.Conditional, ifVersion: r.IfVersion}, r.Key)
}

// ParsePersist reads the body of a PERSIST.
func ParsePersist(flags uint8, body []byte) (Persist, error) {
	o, key, err := parseOptionsAndKey(OpPersist, flags, body)
	return Persist{key, o.conditional, o.ifVersion}, err
}

func appendOptionsAndKey(dst []byte, op Opcode, id uint32, o options, key []byte) []byte {
	flags, size := o.flags()
	dst = AppendHeader(dst, op, flags, id, size+len(key))
	return append(o.appendTo(dst), key...)
}

func parseOptionsAndKey(op Opcode, flags uint8, body []byte) (o options, key []byte, err error) {
	r := reader{b: body}
	if o, err = r.options(op, flags); err != nil {
		return o, nil, err
	}
	key = r.rest()
	if r.bad {
		return o, nil, badf("%v: the body of %d bytes is shorter than its options", op, len(body))
	}
	return o, key, nil
}
