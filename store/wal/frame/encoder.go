package frame

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// WriteChunk is how much is encoded before it is written, about.
const WriteChunk = 1 << 20

// LargeValue is the least length of what Encoder.Value does not copy.
const LargeValue = 16 << 10

// Encoder collects frames, for few and large writes. Between Begin and End the body of a frame is appended to Buf; long
// values are given to Value.
type Encoder struct {
	Buf []byte // what was collected, large values aside

	seed  uint32
	large []largeValueAt
	n     int // bytes collected
	at    int // where the open frame begins in Buf
	first int // its first large value in large
}

// largeValueAt is a value that belongs between Buf[:at] and Buf[at:].
type largeValueAt struct {
	at    int
	value []byte
}

// NewEncoder makes an encoder of the frames of a file with this header.
func NewEncoder(h Header) *Encoder { return &Encoder{seed: h.Seed()} }

// Header adds a file's header.
func (e *Encoder) Header(h Header) {
	e.Buf = h.Append(e.Buf)
	e.n += HeaderSize
}

// Begin begins a frame.
func (e *Encoder) Begin() {
	e.at, e.first = len(e.Buf), len(e.large)
	e.Buf = append(e.Buf, make([]byte, Overhead)...)
}

// Value adds to the body of the frame that was begun. A value of LargeValue bytes and more must not change until it is written.
func (e *Encoder) Value(value []byte) {
	if len(value) < LargeValue {
		e.Buf = append(e.Buf, value...)
		return
	}
	e.large = append(e.large, largeValueAt{len(e.Buf), value})
}

// End ends the frame that was begun.
func (e *Encoder) End() {
	n := len(e.Buf) - e.at
	for _, l := range e.large[e.first:] {
		n += len(l.value)
	}
	binary.BigEndian.PutUint64(e.Buf[e.at+4:], uint64(n-Overhead))
	crc, from := e.seed, e.at+4
	for _, l := range e.large[e.first:] {
		crc = crc32.Update(crc, castagnoli, e.Buf[from:l.at])
		crc = crc32.Update(crc, castagnoli, l.value)
		from = l.at
	}
	crc = crc32.Update(crc, castagnoli, e.Buf[from:])
	binary.BigEndian.PutUint32(e.Buf[e.at:], crc)
	e.n += n
}

// Frame adds a frame with this body.
func (e *Encoder) Frame(body []byte) {
	e.Begin()
	e.Buf = append(e.Buf, body...)
	e.End()
}

// Len returns how many bytes were collected, those of a frame that was only begun aside.
func (e *Encoder) Len() int { return e.n }

// Seed is what the CRCs of the frames begin with.
func (e *Encoder) Seed() uint32 { return e.seed }

// Reset forgets what was collected.
func (e *Encoder) Reset() {
	if cap(e.Buf) > 4*WriteChunk {
		e.Buf = nil
	}
	clear(e.large)
	e.Buf, e.large, e.n = e.Buf[:0], e.large[:0], 0
}

// Flush writes what was collected, and resets e. After an error part of it may have been written.
func (e *Encoder) Flush(w io.Writer) error {
	from := 0
	for _, l := range e.large {
		if err := WriteAll(w, e.Buf[from:l.at]); err != nil {
			return err
		}
		if err := WriteAll(w, l.value); err != nil {
			return err
		}
		from = l.at
	}
	if err := WriteAll(w, e.Buf[from:]); err != nil {
		return err
	}
	e.Reset()
	return nil
}

// WriteAll writes b, all of it if it returns no error.
func WriteAll(w io.Writer, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
