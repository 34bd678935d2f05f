package record

import (
	"bytes"
	"encoding/binary"
	"io"

	"kv/store"
	"kv/store/wal/frame"
)

// A snapshot's frames have bodies of these kinds, by their first byte:
//
//	block    1        1, then entries, each with its version before it (u64); all those of one key, its earlier versions
//	                  first, are in one block; the order of the keys means nothing
//	tail     any      2, then entries as in a block, to be applied in order once all blocks are: only in a backup
//	place    1, or 0  4, and what store/cluster says: only in a replica's
//	trailer  1, last  3, entries (u64), blocks and tails (u64), version (u64): the newest that the state can have in it. In the backup
//	                  of a node of a cluster besides index, term and time (u64 each): see Point
//
// The numbers are frozen: they are in files.
const (
	// KindBlock, KindTail and KindTrailer are the first bytes of a snapshot's bodies.
	KindBlock   = 1
	KindTail    = 2
	KindTrailer = 3

	// TrailerSize is the length of a trailer's body, where the store is alone.
	TrailerSize = 25
	pointedSize = 49 // of a node's
	// BlockSize is about how long a block is, values of more than that aside.
	BlockSize = 128 << 10
)

// Point says of when a state is.
type Point struct {
	Version uint64 // the newest that the state can have in it
	// Index and Term are of the entry of a cluster's log up to which all is there, and Time is what Store.Time says, in
	// Unix milliseconds. Index 0: the store is alone, and has none of them.
	Index, Term, Time uint64
}

// Trailer is the last frame of a snapshot: how much it holds, and of when it is.
type Trailer struct {
	Entries, Blocks uint64
	Point
}

func (t Trailer) append(b []byte) []byte {
	fields := []uint64{t.Entries, t.Blocks, t.Version}
	if t.Index != 0 {
		fields = append(fields, t.Index, t.Term, t.Time)
	}
	b = append(b, KindTrailer)
	for _, n := range fields {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

// ParseTrailer reads the body of a trailer.
func ParseTrailer(body []byte) (t Trailer, ok bool) {
	if len(body) != TrailerSize && len(body) != pointedSize || body[0] != KindTrailer {
		return t, false
	}
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(body[at:]) }
	t.Entries, t.Blocks, t.Version = u64(1), u64(9), u64(17)
	if len(body) == pointedSize {
		t.Index, t.Term, t.Time = u64(25), u64(33), u64(41)
	}
	return t, len(body) == TrailerSize || t.Index != 0
}

// ParseVersioned reads an entry with its version before it into e: see ParseEntry.
func ParseVersioned(b []byte, e *Entry) (version uint64, rest []byte, ok bool) {
	if len(b) < 8 {
		return 0, nil, false
	}
	rest, ok = ParseEntry(b[8:], e)
	return binary.BigEndian.Uint64(b), rest, ok
}

// SnapshotWriter writes the frames of a snapshot.
type SnapshotWriter struct {
	w     io.Writer
	enc   *frame.Encoder
	kind  byte   // of the block that is being filled; 0: none is
	size  int    // its bytes, about
	key   []byte // a copy of the last key's, once the block is full
	n     Trailer
	bytes int64 // written
}

// NewSnapshotWriter makes a writer of a snapshot, which begins with h.
func NewSnapshotWriter(w io.Writer, h frame.Header) *SnapshotWriter {
	s := &SnapshotWriter{w: w, enc: frame.NewEncoder(h)}
	s.enc.Header(h)
	return s
}

// Written returns how many bytes and how many blocks were written.
func (s *SnapshotWriter) Written() (bytes int64, blocks uint64) { return s.bytes, s.n.Blocks }

// Add adds an entry that has its version. It is not kept, but for a value that is so large that nobody modifies it.
func (s *SnapshotWriter) Add(e *store.Entry) error {
	if s.size >= BlockSize && !bytes.Equal(e.Key(), s.key) {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.versioned(KindBlock, e.Version(), e)
	if s.size >= BlockSize {
		s.key = append(s.key[:0], e.Key()...)
	}
	return nil
}

// AddTail adds an entry that follows those of all blocks.
func (s *SnapshotWriter) AddTail(version uint64, e *store.Entry) error {
	if s.kind == KindBlock || s.size >= BlockSize {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.versioned(KindTail, version, e)
	return nil
}

// AddBlock adds the body of a block, or a tail, with so many entries, as another snapshot has it.
func (s *SnapshotWriter) AddBlock(body []byte, entries uint64) error {
	if err := s.flush(); err != nil { // a block may be open
		return err
	}
	s.n.Entries += entries
	s.n.Blocks++
	s.enc.Frame(body)
	return s.flush()
}

func (s *SnapshotWriter) versioned(kind byte, version uint64, e *store.Entry) {
	if s.kind == 0 {
		s.kind = kind
		s.enc.Begin()
		s.enc.Buf = append(s.enc.Buf, kind)
	}
	s.enc.Buf = binary.BigEndian.AppendUint64(s.enc.Buf, version)
	EncodeEntry(s.enc, e)
	s.size += 8 + EntryOverhead + len(e.Key()) + e.Len()
	s.n.Entries++
}

// flush ends the block that is being filled, and writes what there is.
func (s *SnapshotWriter) flush() error {
	if s.kind != 0 {
		s.enc.End()
		s.kind, s.size = 0, 0
		s.n.Blocks++
	}
	n := int64(s.enc.Len())
	if err := s.enc.Flush(s.w); err != nil {
		return err
	}
	s.bytes += n
	return nil
}

// Finish writes the trailer, which says of when the state is.
func (s *SnapshotWriter) Finish(at Point) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.n.Point = at
	s.enc.Frame(s.n.append(nil))
	return s.flush()
}
