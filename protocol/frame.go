package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A frame, the same both ways. All integers are unsigned and big-endian; the layout is frozen.
//
//	0        4      5       6        8        12
//	+--------+------+-------+--------+--------+------------------
//	| length | op   | flags | zero   | id     | body, length - 8
//	| u32    | u8   | u8    | u16    | u32    |
//	+--------+------+-------+--------+--------+------------------
//
// In a response, flags is the status. length counts what follows it.
const (
	HeaderSize = 12                 // bytes before the body
	lengthSize = 4                  // bytes before those that length counts
	minLength  = HeaderSize - 4     // the smallest length
	lengthCap  = 1 << 28            // length stays below: the first byte of a good frame is then below 0x10
	MaxLimit   = lengthCap - 64<<10 // the largest frame limit that a server may set
	// DefaultLimit is the frame limit, in bytes of length, of a server that was told no other.
	DefaultLimit = 64 << 20
	// Absent stands in place of a value's length where there is no value.
	Absent = 0xFFFFFFFF
)

// Header is the fixed part of a frame.
type Header struct {
	Length   uint32 // bytes after the length field: 8 + the body's
	Opcode   Opcode
	Flags    uint8 // the Status, in a response
	Reserved uint16
	ID       uint32
}

// ParseHeader reads the header at the start of b, which holds at least HeaderSize bytes. It checks nothing: see Check.
func ParseHeader(b []byte) Header {
	_ = b[HeaderSize-1]
	return Header{
		Length:   binary.BigEndian.Uint32(b),
		Opcode:   Opcode(b[4]),
		Flags:    b[5],
		Reserved: binary.BigEndian.Uint16(b[6:]),
		ID:       binary.BigEndian.Uint32(b[8:]),
	}
}

// PlainGet reports whether b, which holds at least HeaderSize bytes, begins with a GET without flags whose length can
// be a frame's, and returns the whole frame's size and its ID. It is for those who look at many: a Header has more
// fields than the compiler keeps in registers.
func PlainGet(b []byte) (size int, id uint32, ok bool) {
	_ = b[HeaderSize-1]
	length := binary.BigEndian.Uint32(b)
	ok = binary.BigEndian.Uint32(b[lengthSize:]) == uint32(OpGet)<<24 && length-minLength < lengthCap-minLength
	return SizeOf(length), binary.BigEndian.Uint32(b[8:]), ok
}

// ErrNotAFrame is what CheckLength returns for a length that can't be a frame's: the stream can't be followed further.
var ErrNotAFrame = errors.New("not a frame")

// CheckLength reports whether length can be a frame's; if not, the error matches ErrNotAFrame.
func CheckLength(length uint32) error {
	if length < minLength || length >= lengthCap {
		return fmt.Errorf("%w: length %d is not from %d to %d", ErrNotAFrame, length, minLength, lengthCap-1)
	}
	return nil
}

// Size is the whole frame's size in bytes, length field included.
func (h Header) Size() int { return SizeOf(h.Length) }

// SizeOf is the size in bytes of a frame of this length.
func SizeOf(length uint32) int { return lengthSize + int(length) }

// BodySize is the size of the body in bytes. The length must have passed CheckLength.
func (h Header) BodySize() int { return int(h.Length) - minLength }

// Status is the status, where h is a response's header.
func (h Header) Status() Status { return Status(h.Flags) }

// AppendHeader appends the header of a frame whose body has bodySize bytes.
func AppendHeader(dst []byte, op Opcode, flags uint8, id uint32, bodySize int) []byte {
	n := uint32(minLength + bodySize)
	return append(dst, byte(n>>24), byte(n>>16), byte(n>>8), byte(n), byte(op), flags, 0, 0, byte(id>>24), byte(id>>16),
		byte(id>>8), byte(id))
}

// Fits reports whether a body of so many bytes stays below the cap that every frame has.
func Fits(bodySize int) bool { return bodySize < lengthCap-minLength }

// AppendResponse appends a whole response frame.
func AppendResponse(dst []byte, op Opcode, status Status, id uint32, body []byte) []byte {
	dst = AppendHeader(dst, op, uint8(status), id, len(body))
	return append(dst, body...)
}

// AppendError appends the response frame that stands for e.
func AppendError(dst []byte, op Opcode, id uint32, e *Error) []byte {
	switch {
	case e.Status == StatusConflict && op == OpTxn:
		dst = AppendHeader(dst, op, uint8(e.Status), id, 12)
		dst = binary.BigEndian.AppendUint32(dst, uint32(e.Index))
		return binary.BigEndian.AppendUint64(dst, e.Version)
	case e.Status == StatusConflict:
		dst = AppendHeader(dst, op, uint8(e.Status), id, 8)
		return binary.BigEndian.AppendUint64(dst, e.Version)
	}
	dst = AppendHeader(dst, op, uint8(e.Status), id, len(e.Message))
	return append(dst, e.Message...)
}

// reader takes integers and byte strings off the front of a body. Once something is missing it stays bad, so a parser
// reads all of a body and asks once, at the end.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() uint8 {
	if p := r.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if p := r.bytes(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if p := r.bytes(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if p := r.bytes(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

// rest takes all that is left.
func (r *reader) rest() []byte { return r.bytes(uint64(len(r.b))) }

// count reads how many items follow, each of at least minSize bytes, and refuses a count that the body can't hold.
func (r *reader) count(minSize int) int {
	n := r.u32()
	if uint64(n)*uint64(minSize) > uint64(len(r.b)) {
		r.bad = true
		return 0
	}
	return int(n)
}

// done reports whether all was there and nothing is left over.
func (r *reader) done() bool { return !r.bad && len(r.b) == 0 }
