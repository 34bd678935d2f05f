package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// MagicImage is what a file begins with that has a replica's state.
const MagicImage = frame.MagicReplicaState

// A replica's state is kept and streamed as a store's snapshot, with one body more, the last before the trailer:
//
//	place    1        4, index, term, whole, time (u64 each), length of the voters (u32), the voters as Raft writes them, the members
//
// Index and term are of the entry up to which all is there, whole of that up to which parts may be newer; time is what Store.Time says. The
// file's sequence is the index.
const kindPlace = 4

// image is what the body says.
type image struct {
	base        Base
	whole, time uint64
	version     uint64 // the newest that the state can have
}

func (m image) append(b []byte) ([]byte, error) {
	conf, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.base.Conf)
	if err != nil {
		return nil, err
	}
	b = append(b, kindPlace)
	for _, x := range []uint64{m.base.Index, m.base.Term, m.whole, m.time} {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(conf)))
	return append(append(b, conf...), m.base.Members.Encode()...), nil
}

var errBadImage = errors.New("it is no replica's state, or not all of one")

func parseImage(b []byte) (m image, err error) {
	if len(b) < 37 || b[0] != kindPlace {
		return m, errBadImage
	}
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	m.base.Index, m.base.Term, m.whole, m.time = u64(1), u64(9), u64(17), u64(25)
	n := int(binary.BigEndian.Uint32(b[33:]))
	if b = b[37:]; n > len(b) {
		return m, errBadImage
	}
	m.base.Conf = &pb.ConfState{}
	if err := proto.Unmarshal(b[:n], m.base.Conf); err != nil {
		return m, errBadImage
	}
	m.base.Members, err = DecodeMembers(b[n:])
	return m, err
}

// writeImage writes the live state of a store, which has all up to base, to w. after is called when all of it was written, and says how new
// parts of it may be, or that they are of no use.
func writeImage(w io.Writer, id uint64, base Base, st *store.Store, after func() (whole, version uint64, err error)) error {
	s := record.NewSnapshotWriter(w, frame.Header{Magic: MagicImage, ID: id, Seq: base.Index})
	if err := st.Walk(s.Add); err != nil {
		return err
	}
	now := st.Time() // before it is known how new parts may be, of which this is one
	whole, version, err := after()
	if err != nil {
		return err
	}
	body, err := image{base: base, whole: whole, time: now}.append(nil)
	if err != nil {
		return err
	}
	if err := s.AddBlock(body, 0); err != nil {
		return err
	}
	return s.Finish(record.Point{Version: version})
}

// readImage reads a file with a state, gives its entries to load, which may be nil, and returns what it is of.
func readImage(f vfs.File, index uint64, load func([]*store.Entry)) (m image, err error) {
	r, h, err := frame.Open(f, MagicImage)
	if err != nil {
		return m, err
	}
	if h.Seq != index {
		return m, errBadImage
	}
	var entries, blocks uint64
	placed := false
	for {
		body, err := r.Next()
		if err != nil || len(body) == 0 {
			return m, errBadImage
		}
		switch body[0] {
		case record.KindBlock:
			blocks++
			var all []*store.Entry
			for b := body[1:]; len(b) > 0; entries++ {
				version, e, rest, ok := record.ParseVersioned(b)
				if !ok {
					return m, errBadImage
				}
				if b = rest; load != nil {
					all = append(all, e.Make(version))
				}
			}
			if load != nil {
				load(all)
			}
		case kindPlace:
			blocks++
			if m, err = parseImage(body); err != nil || m.base.Index != index {
				return m, errBadImage
			}
			placed = true
		case record.KindTrailer:
			t, ok := record.ParseTrailer(body)
			if !ok || !placed || t.Entries != entries || t.Blocks != blocks || r.Off != r.End {
				return m, errBadImage
			}
			m.version = t.Version
			return m, nil
		default:
			return m, errBadImage
		}
	}
}

// keepImage makes a file of what write writes, durably, in the place of older ones. check is called before it has its name.
func keepImage(fs vfs.FS, dir string, index uint64, write func(w io.Writer) error, check func(f vfs.File) error) (err error) {
	name := filepath.Join(dir, folder.SnapshotName(index))
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep a state in %s: %w", name, err)
		}
	}()
	f, err := fs.Create(name + folder.TmpSuffix)
	if err != nil {
		return err
	}
	if err = write(io.NewOffsetWriter(f, 0)); err == nil {
		if err = check(f); err == nil {
			err = f.Sync()
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		fs.Remove(name + folder.TmpSuffix) // the next start removes it, if this does not
		return err
	}
	if err := fs.Rename(name+folder.TmpSuffix, name); err != nil {
		return err
	}
	if err := fs.SyncDir(dir); err != nil {
		return err
	}
	d, err := folder.Read(fs, dir)
	if err != nil {
		return err
	}
	for _, seq := range d.Snapshots {
		if seq < index {
			if err := fs.Remove(filepath.Join(dir, folder.SnapshotName(seq))); err != nil {
				return err
			}
		}
	}
	return nil
}
