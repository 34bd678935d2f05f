package protocol

import "encoding/binary"

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

// TxnResult is the answer to one operation of a transaction.
type TxnResult struct {
	Kind    TxnKind
	Value   Value // TxnGet
	Existed bool  // TxnDel
}

// TxnResponse is the answer to a transaction that was applied.
type TxnResponse struct {
	Version uint64 // of what it wrote; 0 when it wrote nothing
	Results []TxnResult
}

// TxnHeadSize is how long the body of an answer to TXN is without its results.
const TxnHeadSize = 12

// AppendTxnHead appends the header and the body's head of the answer to a TXN of n operations. So many results follow:
// for each, what AppendTxnGet appends and a value, or what AppendTxnSet or AppendTxnDel does. bodySize counts them too.
func AppendTxnHead(dst []byte, id uint32, bodySize int, version uint64, n int) []byte {
	dst = AppendHeader(dst, OpTxn, uint8(StatusOK), id, bodySize)
	dst = binary.BigEndian.AppendUint64(dst, version)
	return AppendLength(dst, n)
}

// TxnResultSize is how many bytes the result of an operation takes, besides the value of a TxnGet.
func TxnResultSize(kind TxnKind) int {
	if kind == TxnDel {
		return 2
	}
	return 1
}

// AppendTxnGet appends what stands before the value of a TxnGet, or before what stands in its place.
func AppendTxnGet(dst []byte) []byte { return append(dst, byte(TxnGet)) }

// AppendTxnSet appends the result of a TxnSet or a TxnSetAt, which kind says.
func AppendTxnSet(dst []byte, kind TxnKind) []byte { return append(dst, byte(kind)) }

// AppendTxnDel appends the result of a TxnDel.
func AppendTxnDel(dst []byte, existed bool) []byte {
	if existed {
		return append(dst, byte(TxnDel), 1)
	}
	return append(dst, byte(TxnDel), 0)
}

// AppendTo appends the whole response frame of p.
func (p TxnResponse) AppendTo(dst []byte, id uint32, withMeta bool) []byte {
	size := TxnHeadSize
	for _, r := range p.Results {
		size += TxnResultSize(r.Kind)
		if r.Kind == TxnGet {
			size += valueSize(withMeta, r.Value)
		}
	}
	dst = AppendTxnHead(dst, id, size, p.Version, len(p.Results))
	for _, r := range p.Results {
		switch r.Kind {
		case TxnGet:
			dst = appendValue(AppendTxnGet(dst), withMeta, r.Value)
		case TxnDel:
			dst = AppendTxnDel(dst, r.Existed)
		default:
			dst = AppendTxnSet(dst, r.Kind)
		}
	}
	return dst
}

// ParseTxnResponse reads the OK body of a TXN.
func ParseTxnResponse(withMeta bool, body []byte) (TxnResponse, error) {
	r := reader{b: body}
	p := TxnResponse{Version: r.u64()}
	for n := r.count(1); n > 0 && !r.bad; n-- {
		t := TxnResult{Kind: TxnKind(r.u8())}
		switch t.Kind {
		case TxnGet:
			t.Value = r.value(withMeta)
		case TxnSet, TxnSetAt:
		case TxnDel:
			existed := r.u8()
			t.Existed = existed == 1
			r.bad = r.bad || existed > 1
		default:
			r.bad = true
		}
		p.Results = append(p.Results, t)
	}
	if !r.done() {
		return p, malformedf("TXN: an answer of %d bytes does not hold the results that it counts, and no more", len(body))
	}
	return p, nil
}
