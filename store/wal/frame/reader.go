package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"kv/store/vfs"
)

// ErrBad is what Reader.Next returns where no valid frame begins.
var ErrBad = errors.New("no valid frame")

// Reader reads the frames of a file, in order.
type Reader struct {
	F    vfs.File
	Seed uint32 // see Header.Seed
	End  int64  // the size of the file, or of the part that is read
	Off  int64  // where the next frame begins

	Ahead int    // how many bytes are read at a time, unless more are asked for
	buf   []byte // the bytes of the file from bufAt on
	bufAt int64
}

const (
	// ReadChunk is how many bytes are read at a time.
	ReadChunk = 1 << 20
	// TrustedLen is how long a body may be for memory to be allocated before its checksum has been verified.
	TrustedLen = 16 << 20
)

// Open reads the header of f and returns a reader of the frames behind it. An error that matches ErrNewer, or one of
// the file system, is final; any other says what is wrong with the header.
func Open(f vfs.File, magic string) (*Reader, Header, error) {
	end, err := f.Size()
	if err != nil {
		return nil, Header{}, ioError{err}
	}
	r := &Reader{F: f, End: end, Off: HeaderSize, Ahead: ReadChunk}
	b, err := r.Window(0, int(min(end, HeaderSize)))
	if err != nil {
		return nil, Header{}, err
	}
	h, err := ParseHeader(b, magic)
	if err != nil {
		return nil, Header{}, err
	}
	r.Seed = h.Seed()
	return r, h, nil
}

// ioError is an error of the file system, where others say what is wrong with the bytes.
type ioError struct{ error }

func (e ioError) Unwrap() error { return e.error }

// IsFinal reports whether err, of Open, is not about the bytes of the file.
func IsFinal(err error) bool {
	var io ioError
	return errors.Is(err, ErrNewer) || errors.As(err, &io)
}

// Window returns the n bytes of the file at off, which must all be there. They are valid until the next call.
func (r *Reader) Window(off int64, n int) ([]byte, error) {
	if off < r.bufAt || off+int64(n) > r.bufAt+int64(len(r.buf)) {
		want := int(min(int64(max(n, r.Ahead)), r.End-off))
		if cap(r.buf) < want || cap(r.buf) > 4*TrustedLen {
			r.buf = make([]byte, want)
		}
		r.buf, r.bufAt = r.buf[:want], off
		if m, err := r.F.ReadAt(r.buf, off); m < want {
			r.buf = r.buf[:0]
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, ioError{err}
		}
	}
	at := off - r.bufAt
	return r.buf[at : at+int64(n)], nil
}

// Next returns the body of the next frame, valid until the next call. io.EOF: the file ends here. ErrBad: what begins
// at r.Off is no valid frame; r.Off stays. Any other error is the file system's.
func (r *Reader) Next() ([]byte, error) {
	if r.Off == r.End {
		return nil, io.EOF
	}
	n, err := r.Length(r.Off)
	if err != nil {
		return nil, err
	}
	if n > TrustedLen {
		if ok, err := r.Verify(r.Off, n); err != nil {
			return nil, err
		} else if !ok {
			return nil, ErrBad
		}
	}
	b, err := r.Window(r.Off, Overhead+int(n))
	if err != nil {
		return nil, err
	}
	if !Valid(r.Seed, b) {
		return nil, ErrBad
	}
	r.Off += Overhead + n
	return b[Overhead:], nil
}

// Length returns the length of the body of the frame at off, as its header claims it, within the file.
func (r *Reader) Length(off int64) (int64, error) {
	if r.End-off < Overhead {
		return 0, ErrBad
	}
	b, err := r.Window(off, Overhead)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint64(b[4:])
	if n == 0 || n > uint64(r.End-off-Overhead) { // none is empty: zeros are room that was reserved
		return 0, ErrBad
	}
	return int64(n), nil
}

// Verify checks the frame at off, with a body of n bytes, without having it in memory at one time.
func (r *Reader) Verify(off, n int64) (bool, error) {
	b, err := r.Window(off, Overhead)
	if err != nil {
		return false, err
	}
	want := binary.BigEndian.Uint32(b)
	crc := crc32.Update(r.Seed, castagnoli, b[4:])
	for at, end := off+Overhead, off+Overhead+n; at < end; {
		m := min(end-at, ReadChunk)
		if b, err = r.Window(at, int(m)); err != nil {
			return false, err
		}
		crc = crc32.Update(crc, castagnoli, b)
		at += m
	}
	return crc == want, nil
}

// Used returns the offset, not below from, behind which the file has only zeros.
func (r *Reader) Used(from int64) (int64, error) {
	end := from
	for at := from; at < r.End; {
		b, err := r.Window(at, int(min(r.End-at, ReadChunk)))
		if err != nil {
			return 0, err
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			end = at + int64(n)
		}
		at += int64(len(b))
	}
	return end, nil
}

// Find looks for the first valid frame at from or behind it whose first bytes of body look right, and returns where it
// is; r.End if there is none. peek is how many bytes of the body plausible wants to see.
func (r *Reader) Find(from int64, peek int, plausible func(off int64, body []byte) bool) (int64, error) {
	for off := from; off+Overhead+int64(peek) <= r.End; off++ {
		b, err := r.Window(off, Overhead+peek)
		if err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint64(b[4:])
		if n < uint64(peek) || n > uint64(r.End-off-Overhead) || !plausible(off, b[Overhead:]) {
			continue
		}
		if ok, err := r.Verify(off, int64(n)); err != nil {
			return 0, err
		} else if ok {
			return off, nil
		}
	}
	return r.End, nil
}
