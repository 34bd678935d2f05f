package protocol

import "encoding/binary"

// Every request has a struct here, a method that appends its whole frame and a parser of its body. What a parser returns
// points into the body that it was given.

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

// Condition holds while Key has exactly this version; 0: while it is absent.
type Condition struct {
	Version uint64
	Key     []byte
}

// TxnKind says what one operation of a transaction does.
type TxnKind uint8

// The kinds of operation in a transaction. The numbers are frozen.
const (
	TxnGet   TxnKind = 1
	TxnSet   TxnKind = 2
	TxnDel   TxnKind = 3
	TxnSetAt TxnKind = 4 // TxnSet, but with the time at which the key expires
)

// TxnOp is one operation of a transaction.
type TxnOp struct {
	Kind     TxnKind
	Key      []byte
	TTL      uint64 // TxnSet: milliseconds until the key expires; 0: never
	ExpireAt uint64 // TxnSetAt: when the key expires, in Unix milliseconds, above 0
	Value    []byte // TxnSet, TxnSetAt
}

// Txn checks every condition and, if all hold, runs the operations in order at one instant. A TxnGet sees what the
// operations before it wrote.
type Txn struct {
	WithMeta   bool // the answers to TxnGet carry version and expiry
	Conditions []Condition
	Ops        []TxnOp
}

// AppendTo appends the whole frame of r.
func (r Txn) AppendTo(dst []byte, id uint32) []byte {
	var flags uint8
	if r.WithMeta {
		flags = FlagWithMeta
	}
	n := 8
	for _, c := range r.Conditions {
		n += 12 + len(c.Key)
	}
	for _, o := range r.Ops {
		n += 5 + len(o.Key)
		if o.Kind == TxnSet || o.Kind == TxnSetAt {
			n += 12 + len(o.Value)
		}
	}
	dst = AppendHeader(dst, OpTxn, flags, id, n)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Conditions)))
	for _, c := range r.Conditions {
		dst = binary.BigEndian.AppendUint64(dst, c.Version)
		dst = appendBytes(dst, c.Key)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(r.Ops)))
	for _, o := range r.Ops {
		dst = append(dst, byte(o.Kind))
		dst = appendBytes(dst, o.Key)
		switch o.Kind {
		case TxnSet:
			dst = binary.BigEndian.AppendUint64(dst, o.TTL)
			dst = appendBytes(dst, o.Value)
		case TxnSetAt:
			dst = binary.BigEndian.AppendUint64(dst, o.ExpireAt)
			dst = appendBytes(dst, o.Value)
		}
	}
	return dst
}

// ParseTxn reads the body of a TXN.
func ParseTxn(flags uint8, body []byte) (Txn, error) {
	r := reader{b: body}
	q := Txn{WithMeta: flags&FlagWithMeta != 0}
	for n := r.count(12); n > 0 && !r.bad; n-- {
		q.Conditions = append(q.Conditions, Condition{r.u64(), r.bytes(uint64(r.u32()))})
	}
	for n := r.count(5); n > 0 && !r.bad; n-- {
		o := TxnOp{Kind: TxnKind(r.u8()), Key: r.bytes(uint64(r.u32()))}
		switch o.Kind {
		case TxnGet, TxnDel:
		case TxnSet:
			o.TTL = r.u64()
			o.Value = r.bytes(uint64(r.u32()))
		case TxnSetAt:
			if o.ExpireAt = r.u64(); o.ExpireAt == 0 && !r.bad {
				return q, badf("TXN: operation %d has an expiry of 0: it is a time in Unix milliseconds, above 0", len(q.Ops))
			}
			o.Value = r.bytes(uint64(r.u32()))
		default:
			if !r.bad {
				return q, badf("TXN: operation %d is of kind %d, not 1 (get), 2 (set), 3 (del) or 4 (set, with an expiry)", len(q.Ops), o.Kind)
			}
		}
		q.Ops = append(q.Ops, o)
	}
	if !r.done() {
		return q, badf("TXN: a body of %d bytes does not hold the conditions and operations that it counts, and no more", len(body))
	}
	return q, nil
}

// Hello opens a connection: which protocol the client speaks, and who it is. User and Secret are empty where no
// authentication is asked for.
type Hello struct {
	Version      uint16 // the highest protocol version that the client speaks, above 0
	User, Secret []byte // at most 65535 bytes each
}

// AppendTo appends the whole frame of r.
func (r Hello) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpHello, 0, id, 6+len(r.User)+len(r.Secret))
	dst = binary.BigEndian.AppendUint16(dst, r.Version)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.User)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Secret)))
	dst = append(dst, r.User...)
	return append(dst, r.Secret...)
}

// ParseHello reads the body of a HELLO.
func ParseHello(body []byte) (Hello, error) {
	r := reader{b: body}
	q := Hello{Version: r.u16()}
	user, secret := r.u16(), r.u16()
	q.User, q.Secret = r.bytes(uint64(user)), r.bytes(uint64(secret))
	if !r.done() {
		return q, badf("HELLO: a body of %d bytes does not hold a version, a user and a secret, and no more", len(body))
	}
	if q.Version == 0 {
		return q, badf("HELLO: there is no protocol version 0")
	}
	return q, nil
}

// Scan asks for one page of the keys that begin with Prefix, in an order of the server's own.
type Scan struct {
	WithMeta, WithValues bool
	Limit                uint32 // about how many keys a page has, at most; 0: as the server likes
	Cursor               []byte // empty: the first page; else as the page before gave it; at most 65535 bytes
	Prefix               []byte
}

// AppendTo appends the whole frame of r.
func (r Scan) AppendTo(dst []byte, id uint32) []byte {
	var flags uint8
	if r.WithMeta {
		flags |= FlagWithMeta
	}
	if r.WithValues {
		flags |= FlagWithValues
	}
	dst = AppendHeader(dst, OpScan, flags, id, 6+len(r.Cursor)+len(r.Prefix))
	dst = binary.BigEndian.AppendUint32(dst, r.Limit)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Cursor)))
	dst = append(dst, r.Cursor...)
	return append(dst, r.Prefix...)
}

// ParseScan reads the body of a SCAN.
func ParseScan(flags uint8, body []byte) (Scan, error) {
	r := reader{b: body}
	q := Scan{WithMeta: flags&FlagWithMeta != 0, WithValues: flags&FlagWithValues != 0, Limit: r.u32()}
	q.Cursor = r.bytes(uint64(r.u16()))
	q.Prefix = r.rest()
	if r.bad {
		return q, badf("SCAN: the body of %d bytes is shorter than its cursor says", len(body))
	}
	return q, nil
}

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

// Backup asks for the next chunk of a backup.
type Backup struct {
	Handle uint64 // 0: begin one; else as the answer before gave it
}

// AppendTo appends the whole frame of r.
func (r Backup) AppendTo(dst []byte, id uint32) []byte {
	dst = AppendHeader(dst, OpBackup, 0, id, 8)
	return binary.BigEndian.AppendUint64(dst, r.Handle)
}

// ParseBackup reads the body of a BACKUP.
func ParseBackup(body []byte) (Backup, error) {
	r := reader{b: body}
	q := Backup{Handle: r.u64()}
	if !r.done() {
		return q, badf("BACKUP needs 8 bytes of handle and no more, the body has %d", len(body))
	}
	return q, nil
}

// appendBytes appends a u32 length and b.
func appendBytes(dst, b []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}
