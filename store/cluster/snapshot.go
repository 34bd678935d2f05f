package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// MagicSnapshot is what a replica's snapshot begins with.
const MagicSnapshot = frame.MagicReplicaSnapshot

// A replica's snapshot is written and streamed as a store's, whose store id is the number of the cluster, with one body
// more, the last before the trailer:
//
//	place    1        4, index, term, whole, time, the cluster's format, from format 2 on depth and age (u64 each), length of the voters (u32), the voters as Raft writes them, the members
//
// Depth is how many earlier versions of a key are kept as of the index, 0 if the log has not said it, and age for how
// many microseconds. Index and term are of the entry up to which all is there, whole of that up to which parts may be
// newer; time is what Store.Time says. The file's sequence is the index. It has tails only where it was made of a
// backup, or of another such file and a log: see recover.go.
const (
	kindPlace = 4
	placeHead = 45 // before format 2 up to the voters
)

// snapshotMeta is what the body says, and the file besides.
type snapshotMeta struct {
	cluster     uint64
	base        Base
	whole, time uint64
	version     uint64 // the newest that the snapshot can have
	size        int64  // of the file, where it was read
	depth       int    // how much history is kept as of base, 0: the log has not said it
	age         time.Duration
}

func (m snapshotMeta) append(b []byte) ([]byte, error) {
	conf, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.base.Conf)
	if err != nil {
		return nil, err
	}
	b = append(b, kindPlace)
	for _, x := range []uint64{m.base.Index, m.base.Term, m.whole, m.time, uint64(m.base.Format)} {
		b = binary.BigEndian.AppendUint64(b, x)
	}
	if m.base.Format >= formatSettings {
		b = binary.BigEndian.AppendUint64(b, uint64(m.depth))
		b = binary.BigEndian.AppendUint64(b, uint64(m.age.Microseconds()))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(conf)))
	return append(append(b, conf...), m.base.Members.Encode()...), nil
}

// owner is the node whose snapshot this is, where the cluster has that member alone: Recover and Found make such.
func (m snapshotMeta) owner() Self {
	self := Self{Cluster: m.cluster}
	if v := m.base.Conf.GetVoters(); len(v) == 1 && len(m.base.Members) == 1 {
		self.Node = v[0]
	}
	return self
}

var errBadSnapshot = errors.New("no replica's snapshot, or not all of one")

func parseSnapshotMeta(b []byte) (m snapshotMeta, err error) {
	if len(b) < placeHead || b[0] != kindPlace {
		return m, errBadSnapshot
	}
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	m.base.Index, m.base.Term, m.whole, m.time = u64(1), u64(9), u64(17), u64(25)
	m.base.Format = uint16(u64(33))
	b = b[placeHead-4:]
	if m.base.Format >= formatSettings {
		if len(b) < 20 {
			return m, errBadSnapshot
		}
		m.depth, m.age = int(min(binary.BigEndian.Uint64(b), math.MaxInt32)), micros(binary.BigEndian.Uint64(b[8:]))
		b = b[16:]
	}
	n := int(binary.BigEndian.Uint32(b))
	if b = b[4:]; n > len(b) {
		return m, errBadSnapshot
	}
	m.base.Conf = &pb.ConfState{}
	if err := proto.Unmarshal(b[:n], m.base.Conf); err != nil {
		return m, errBadSnapshot
	}
	m.base.Members, err = DecodeMembers(b[n:])
	return m, err
}

// writeSnapshot writes a snapshot of the live state of a store, which is as m says, to w. after is called when all of
// it was written, and says how new parts of it may be, or that they are of no use.
func writeSnapshot(w io.Writer, id uint64, m snapshotMeta, st *store.Store, after func() (whole, version uint64, err error)) error {
	s := record.NewSnapshotWriter(w, frame.Header{Magic: MagicSnapshot, ID: id, Seq: m.base.Index})
	if err := st.Walk(s.Add); err != nil {
		return err
	}
	m.time = st.Time() // before it is known how new parts may be, of which this is one
	var version uint64
	var err error
	if m.whole, version, err = after(); err != nil {
		return err
	}
	return finishSnapshot(s, m, version)
}

// readSnapshot reads a snapshot, verifies it, gives the body of each block and each tail, with how many entries it has,
// to each, and returns what it is of.
func readSnapshot(f vfs.File, index uint64, each func(body []byte, entries uint64) error) (m snapshotMeta, err error) {
	r, h, err := frame.Open(f, MagicSnapshot)
	if err != nil {
		return m, err
	}
	if h.Seq != index {
		return m, errBadSnapshot
	}
	var entries, blocks uint64
	placed := false
	for {
		body, err := r.Next()
		if err != nil || len(body) == 0 {
			return m, errBadSnapshot
		}
		switch body[0] {
		case record.KindBlock, record.KindTail:
			blocks++
			n := uint64(0)
			if !record.Each(body, func(uint64, *record.Entry) { n++ }) {
				return m, errBadSnapshot
			}
			entries += n
			if err := each(body, n); err != nil {
				return m, err
			}
		case kindPlace:
			blocks++
			if m, err = parseSnapshotMeta(body); err != nil || m.base.Index != index {
				return m, errBadSnapshot
			}
			placed = true
		case record.KindTrailer:
			t, ok := record.ParseTrailer(body)
			if !ok || !placed || t.Entries != entries || t.Blocks != blocks || r.Off != r.End {
				return m, errBadSnapshot
			}
			m.cluster, m.version, m.size = h.ID, t.Version, r.End
			return m, nil
		default:
			return m, errBadSnapshot
		}
	}
}

// loadSnapshot is readSnapshotFile, and gives what there is to a store, tails to apply.
func loadSnapshot(fs vfs.FS, dir string, index uint64, load, apply func([]*store.Entry)) (snapshotMeta, error) {
	var m store.Maker
	return readSnapshotFile(fs, dir, index, func(body []byte, _ uint64) error {
		if all := record.MakeEach(&m, body); body[0] == record.KindTail {
			apply(all)
		} else {
			load(all)
		}
		return nil
	})
}

// justRead is for readSnapshot where all that counts is whether it can be read.
func justRead([]byte, uint64) error { return nil }

// readSnapshotFile is readSnapshot of a folder's file. The error is each's, or a *folder.DamageError, or says that the
// file is of a newer kvd.
func readSnapshotFile(fs vfs.FS, dir string, index uint64, each func(body []byte, entries uint64) error) (m snapshotMeta, err error) {
	name := folder.SnapshotName(index)
	f, err := fs.Open(filepath.Join(dir, name))
	if err != nil {
		return m, err
	}
	defer f.Close()
	var its error
	m, err = readSnapshot(f, index, func(body []byte, n uint64) error {
		its = each(body, n)
		return its
	})
	switch {
	case err == nil || its != nil:
		return m, err
	case frame.IsFinal(err):
		return m, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
	}
	return m, &folder.DamageError{Dir: dir, File: name, Detail: err.Error()}
}

// createSnapshot makes a file of what write writes, durably, in the place of older ones, and returns how many bytes it
// has. check is called before it has its name; nil: nothing is.
func createSnapshot(fs vfs.FS, dir string, index uint64, write func(w io.Writer) error, check func(f vfs.File) error) (size int64, err error) {
	name := filepath.Join(dir, folder.SnapshotName(index))
	defer func() {
		if err != nil {
			err = fmt.Errorf("write snapshot %s: %w", name, err)
		}
	}()
	f, err := fs.Create(name + folder.TmpSuffix)
	if err != nil {
		return 0, err
	}
	err = write(io.NewOffsetWriter(f, 0))
	if err == nil && check != nil {
		err = check(f)
	}
	if err == nil {
		size, err = f.Size()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		fs.Remove(name + folder.TmpSuffix) // the next start removes it, if this does not
		return 0, err
	}
	if err := fs.Rename(name+folder.TmpSuffix, name); err != nil {
		return 0, err
	}
	if err := fs.SyncDir(dir); err != nil {
		return 0, err
	}
	d, err := folder.Read(fs, dir)
	if err != nil {
		return 0, err
	}
	for _, seq := range d.Snapshots {
		if seq < index {
			if err := fs.Remove(filepath.Join(dir, folder.SnapshotName(seq))); err != nil {
				return 0, err
			}
		}
	}
	return size, nil
}
