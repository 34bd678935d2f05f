package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"kv/store/vfs"
)

// Log and snapshot files are a header and then frames, one behind the other. All integers are big-endian.
//
// The header:
//
//	0        6         8          16         24         32      36
//	+--------+---------+----------+----------+----------+-------+
//	| magic  | format  | store id | sequence | base     | CRC   |
//	| 6      | u16 = 1 | u64      | u64      | u64      | u32   |
//	+--------+---------+----------+----------+----------+-------+
//
// magic is "kv-log" or "kv-snp". The store id is a random number that all files of a folder share. base is the log
// position of the file's first byte (of a snapshot: of the log that it begins with): positions count all bytes of all logs
// since the store was made, so they can be compared across files. The CRC is that of the 32 bytes before it. The header
// stays as it is in later formats.
//
// A frame:
//
//	0       4         12
//	+-------+---------+------+
//	| CRC   | length  | body |
//	| u32   | u64     |      |
//	+-------+---------+------+
//
// The CRC (CRC-32C) covers the length and the body, and begins with that of the file's header: so a frame is valid only in
// the file that it was written to, and a value that imitates a frame is not taken for one.
//
// The numbers are frozen: they are in files.
const (
	magicLog      = "kv-log"
	magicSnapshot = "kv-snp"
	formatVersion = 1
	headerSize    = 36
	frameHeader   = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the first bytes of a file.
type header struct {
	magic string
	id    uint64
	seq   uint64
	base  int64
}

func (h header) append(b []byte) []byte {
	at := len(b)
	b = append(b, h.magic...)
	b = binary.BigEndian.AppendUint16(b, formatVersion)
	b = binary.BigEndian.AppendUint64(b, h.id)
	b = binary.BigEndian.AppendUint64(b, h.seq)
	b = binary.BigEndian.AppendUint64(b, uint64(h.base))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

// seed is what the CRCs of the file's frames begin with.
func (h header) seed() uint32 {
	return crc32.Checksum(h.append(nil), castagnoli)
}

var errNewer = errors.New("written by a newer version of kvd")

// parseHeader reads a header. The errors say what is wrong with it.
func parseHeader(b []byte, magic string) (header, error) {
	if len(b) < headerSize {
		return header{}, fmt.Errorf("%d bytes are too few for a header", len(b))
	}
	if string(b[:6]) != magic {
		return header{}, fmt.Errorf("the first bytes are %q, not %q", b[:6], magic)
	}
	if crc32.Checksum(b[:headerSize-4], castagnoli) != binary.BigEndian.Uint32(b[headerSize-4:]) {
		return header{}, errors.New("the header's checksum is wrong")
	}
	if v := binary.BigEndian.Uint16(b[6:]); v != formatVersion {
		return header{}, fmt.Errorf("format %d: %w", v, errNewer)
	}
	h := header{magic, binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:]), int64(binary.BigEndian.Uint64(b[24:]))}
	if h.base < 0 {
		return header{}, errors.New("the base is not a position")
	}
	return h, nil
}

// errBadFrame is what frames.next returns where no valid frame begins.
var errBadFrame = errors.New("no valid frame")

// frames reads the frames of a file, in order.
type frames struct {
	f    vfs.File
	seed uint32
	end  int64 // the size of the file
	off  int64 // where the next frame begins

	ahead int    // how many bytes are read at a time, unless more are asked for
	buf   []byte // the bytes of the file from bufAt on
	bufAt int64
}

const (
	readChunk  = 1 << 20
	trustedLen = 16 << 20 // memory for a body longer than this is allocated once its checksum has been verified
)

// openFrames reads the header of f and returns a reader of the frames behind it. An error that matches errNewer, or one of
// the file system, is final; any other says what is wrong with the header.
func openFrames(f vfs.File, magic string) (*frames, header, error) {
	end, err := f.Size()
	if err != nil {
		return nil, header{}, ioError{err}
	}
	r := &frames{f: f, end: end, off: headerSize, ahead: readChunk}
	b, err := r.window(0, int(min(end, headerSize)))
	if err != nil {
		return nil, header{}, err
	}
	h, err := parseHeader(b, magic)
	if err != nil {
		return nil, header{}, err
	}
	r.seed = h.seed()
	return r, h, nil
}

// ioError is an error of the file system, where others say what is wrong with the bytes.
type ioError struct{ error }

func (e ioError) Unwrap() error { return e.error }

// window returns the n bytes of the file at off, which must all be there. They are valid until the next call.
func (r *frames) window(off int64, n int) ([]byte, error) {
	if off < r.bufAt || off+int64(n) > r.bufAt+int64(len(r.buf)) {
		want := int(min(int64(max(n, r.ahead)), r.end-off))
		if cap(r.buf) < want || cap(r.buf) > 4*trustedLen {
			r.buf = make([]byte, want)
		}
		r.buf, r.bufAt = r.buf[:want], off
		if m, err := r.f.ReadAt(r.buf, off); m < want {
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

// next returns the body of the next frame, valid until the next call. io.EOF: the file ends here. errBadFrame: what begins
// at r.off is no valid frame; r.off stays. Any other error is the file system's.
func (r *frames) next() ([]byte, error) {
	if r.off == r.end {
		return nil, io.EOF
	}
	n, err := r.length(r.off)
	if err != nil {
		return nil, err
	}
	if n > trustedLen {
		if ok, err := r.verify(r.off, n); err != nil {
			return nil, err
		} else if !ok {
			return nil, errBadFrame
		}
	}
	b, err := r.window(r.off, frameHeader+int(n))
	if err != nil {
		return nil, err
	}
	if crc32.Update(r.seed, castagnoli, b[4:]) != binary.BigEndian.Uint32(b) {
		return nil, errBadFrame
	}
	r.off += frameHeader + n
	return b[frameHeader:], nil
}

// length returns the length of the body of the frame at off, as its header claims it, within the file.
func (r *frames) length(off int64) (int64, error) {
	if r.end-off < frameHeader {
		return 0, errBadFrame
	}
	b, err := r.window(off, frameHeader)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint64(b[4:])
	if n == 0 || n > uint64(r.end-off-frameHeader) { // none is empty: zeros are room that was reserved
		return 0, errBadFrame
	}
	return int64(n), nil
}

// verify checks the frame at off, with a body of n bytes, without having it in memory at one time.
func (r *frames) verify(off, n int64) (bool, error) {
	b, err := r.window(off, frameHeader)
	if err != nil {
		return false, err
	}
	want := binary.BigEndian.Uint32(b)
	crc := crc32.Update(r.seed, castagnoli, b[4:])
	for at, end := off+frameHeader, off+frameHeader+n; at < end; {
		m := min(end-at, readChunk)
		if b, err = r.window(at, int(m)); err != nil {
			return false, err
		}
		crc = crc32.Update(crc, castagnoli, b)
		at += m
	}
	return crc == want, nil
}

// used returns the offset, not below from, behind which the file has only zeros.
func (r *frames) used(from int64) (int64, error) {
	end := from
	for at := from; at < r.end; {
		b, err := r.window(at, int(min(r.end-at, readChunk)))
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

// find looks for the first valid frame at from or behind it whose first bytes of body look right, and returns where it
// is; r.end if there is none. peek is how many bytes of the body plausible wants to see.
func (r *frames) find(from int64, peek int, plausible func(off int64, body []byte) bool) (int64, error) {
	for off := from; off+frameHeader+int64(peek) <= r.end; off++ {
		b, err := r.window(off, frameHeader+peek)
		if err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint64(b[4:])
		if n < uint64(peek) || n > uint64(r.end-off-frameHeader) || !plausible(off, b[frameHeader:]) {
			continue
		}
		if ok, err := r.verify(off, int64(n)); err != nil {
			return 0, err
		} else if ok {
			return off, nil
		}
	}
	return r.end, nil
}
