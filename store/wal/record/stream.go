package record

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"kv/store"
	"kv/store/wal/frame"
)

// SnapshotReader reads a snapshot once, from its start to its end, and verifies it: from a file, a pipe, a connection.
type SnapshotReader struct {
	r      *bufio.Reader
	seed   uint32
	off    int64 // where the next frame begins
	body   bytes.Buffer
	n      Trailer // what was read: entries and blocks
	newest uint64  // version that was read
	end    Trailer
	ended  bool
}

// BadSnapshotError says what is wrong with the bytes of a snapshot, and where.
type BadSnapshotError struct {
	Offset int64
	Detail string
}

// Error says so.
func (e *BadSnapshotError) Error() string { return fmt.Sprintf("offset %d: %s", e.Offset, e.Detail) }

// OpenSnapshot reads a snapshot's header. The error is a *BadSnapshotError, or matches frame.ErrNewer, or is that of from.
func OpenSnapshot(from io.Reader) (*SnapshotReader, frame.Header, error) {
	s := &SnapshotReader{r: bufio.NewReaderSize(from, frame.ReadChunk), off: frame.HeaderSize}
	b := make([]byte, frame.HeaderSize)
	n, err := io.ReadFull(s.r, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, frame.Header{}, err
	}
	h, err := frame.ParseHeader(b[:n], frame.MagicSnapshot)
	switch {
	case err != nil && frame.IsFinal(err):
		return nil, h, err
	case err != nil:
		return nil, h, &BadSnapshotError{0, err.Error()}
	}
	s.seed = h.Seed()
	return s, h, nil
}

func (s *SnapshotReader) bad(detail string) error { return &BadSnapshotError{s.off, detail} }

// Next returns the body of the next block, or tail, valid until the next call: what it holds was verified, see Each.
// io.EOF: the snapshot is over, and all of it was there; nothing behind its trailer was looked at. Other errors are
// those of OpenSnapshot.
func (s *SnapshotReader) Next() ([]byte, error) {
	if s.ended {
		return nil, io.EOF
	}
	body, err := s.frame()
	if err != nil {
		return nil, err
	}
	if t, ok := ParseTrailer(body); ok {
		if t.Blocks != s.n.Blocks || t.Entries != s.n.Entries {
			return nil, s.bad(fmt.Sprintf("the snapshot has %d blocks with %d entries, and was written with %d and %d",
				s.n.Blocks, s.n.Entries, t.Blocks, t.Entries))
		}
		s.end, s.ended = t, true
		s.off += frame.Overhead + int64(len(body))
		return nil, io.EOF
	}
	if body[0] != KindBlock && body[0] != KindTail {
		return nil, s.bad(fmt.Sprintf("a block of kind %d", body[0]))
	}
	if !Each(body, func(version uint64, _ *Entry) {
		s.n.Entries++
		s.newest = max(s.newest, version)
	}) {
		return nil, s.bad("the block holds no valid entry where one should be")
	}
	s.n.Blocks++
	s.off += frame.Overhead + int64(len(body))
	return body, nil
}

// frame returns the body of the frame at off.
func (s *SnapshotReader) frame() ([]byte, error) {
	var head [frame.Overhead]byte
	if _, err := io.ReadFull(s.r, head[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, s.bad("the snapshot ends without its trailer")
	} else if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint64(head[4:])
	if n == 0 || n > 1<<62 {
		return nil, s.bad("no valid block")
	}
	// The memory grows with what is there, not with what is claimed.
	s.body.Reset()
	if m, err := io.CopyN(&s.body, s.r, int64(n)); err == io.EOF {
		return nil, s.bad(fmt.Sprintf("the block has %d bytes, and is to have %d", m, n))
	} else if err != nil {
		return nil, err
	}
	body := s.body.Bytes()
	if frame.Sum(s.seed, head[4:], body) != binary.BigEndian.Uint32(head[:]) {
		return nil, s.bad("no valid block")
	}
	return body, nil
}

// Trailer returns the trailer, once Next has said io.EOF; its Version is the newest that the state can have in it.
func (s *SnapshotReader) Trailer() Trailer {
	t := s.end
	t.Version = max(t.Version, s.newest)
	return t
}

// Size returns how many bytes were read so far.
func (s *SnapshotReader) Size() int64 { return s.off }

// AtEnd returns nil if nothing follows what was read.
func (s *SnapshotReader) AtEnd() error {
	switch _, err := s.r.ReadByte(); err {
	case nil:
		return s.bad("something follows the trailer")
	case io.EOF:
		return nil
	default:
		return err
	}
}

// Each calls f for each entry of a block's, or a tail's, body, which f does not keep; false: one is not valid.
func Each(body []byte, f func(version uint64, e *Entry)) (ok bool) {
	var e Entry
	for b := body[1:]; len(b) > 0; {
		var version uint64
		if version, b, ok = ParseVersioned(b, &e); !ok {
			return false
		}
		f(version, &e)
	}
	return true
}

// MakeEach makes the store's entries of a block's, or a tail's, body, which is valid: all versions of a key that are in
// a snapshot are in one block. Those of the body before it, which m made too, are over.
func MakeEach(m *store.Maker, body []byte) (all []*store.Entry) {
	m.Reset()
	Each(body, func(version uint64, e *Entry) { all = append(all, e.MakeIn(m, version)) })
	return all
}
