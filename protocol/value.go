package protocol

import "encoding/binary"

// Meta is what the store knows of a value besides its bytes.
type Meta struct {
	Version uint64
	Expiry  uint64 // Unix milliseconds; 0: none
}

// MetaSize is the size of a Meta in a body.
const MetaSize = 16

// AppendMeta appends m as bodies carry it.
func AppendMeta(dst []byte, m Meta) []byte {
	dst = binary.BigEndian.AppendUint64(dst, m.Version)
	return binary.BigEndian.AppendUint64(dst, m.Expiry)
}

func (r *reader) meta() Meta { return Meta{r.u64(), r.u64()} }

// A value, in the answers to MGET, TXN and HISTORY: its length, then version and expiry where they were asked for, then
// its bytes. A length of Absent stands alone: there is no value.
const (
	valueHeadSize = 4
	// AbsentSize is how many bytes AppendAbsent appends.
	AbsentSize = 4
)

// Value is the answer about one key: the value, or Found false where the key is absent.
type Value struct {
	Found bool
	Data  []byte // points into the response's body
	Meta         // zero unless it was asked for
}

// ValueSize is how many bytes a value of so many takes in an answer, with what AppendValueHead appends before it.
func ValueSize(size int, withMeta bool) int {
	if withMeta {
		size += MetaSize
	}
	return valueHeadSize + size
}

// AppendValueHead appends what stands before a value of size bytes. m is appended only if it was asked for.
func AppendValueHead(dst []byte, size int, withMeta bool, m Meta) []byte {
	dst = AppendLength(dst, size)
	if withMeta {
		dst = AppendMeta(dst, m)
	}
	return dst
}

// AppendAbsent appends what stands in place of a value where there is none.
func AppendAbsent(dst []byte) []byte { return binary.BigEndian.AppendUint32(dst, Absent) }

// AppendLength appends the length, or count, that stands before so many bytes, or items.
func AppendLength(dst []byte, n int) []byte { return binary.BigEndian.AppendUint32(dst, uint32(n)) }

// appendValue appends v whole.
func appendValue(dst []byte, withMeta bool, v Value) []byte {
	if !v.Found {
		return AppendAbsent(dst)
	}
	return append(AppendValueHead(dst, len(v.Data), withMeta, v.Meta), v.Data...)
}

// valueSize is how many bytes appendValue appends.
func valueSize(withMeta bool, v Value) int {
	if !v.Found {
		return AbsentSize
	}
	return ValueSize(len(v.Data), withMeta)
}

// value reads a u32 length, or Absent, then the meta if it was asked for, then the bytes.
func (r *reader) value(withMeta bool) Value {
	n := r.u32()
	if n == Absent || r.bad {
		return Value{}
	}
	v := Value{Found: true}
	if withMeta {
		v.Meta = r.meta()
	}
	v.Data = r.bytes(uint64(n))
	return v
}

// appendBytes appends a u32 length and b.
func appendBytes(dst, b []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...)
}
