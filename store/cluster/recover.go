package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/record"
)

// How a cluster begins anew with what one node has, after a majority was lost for good.
//
// All that the node's log has is taken for committed, since nobody is there who could say what is not: an entry that a
// majority had is in the log of the node that has most. What it has besides was promised to nobody, and is kept too.
// The node becomes another one, of a new cluster whose only member it is: so the nodes of the old one that come back
// are refused, by its number, and it by them. (hashicorp/raft's RecoverCluster does it that way, but for the number,
// without which the old ones could go on beside it.)
//
// The snapshot, and behind it what the log has, as tails, become one new snapshot, of an entry above all that there
// are. It is written beside the others, and the instant at which it gets its name is the one at which the folder is the
// new cluster's: a start, or Recover again, finds a snapshot of another cluster than the log's, and begins the log anew
// behind it. Before that instant nothing has changed.

// Notes is the file in a node's folder that says what Recover did.
const Notes = "RECOVERED"

// NotWholeError says that what a node has is no state: it was receiving a copy of another's, and the log does not reach
// as far as that copy's newest part.
type NotWholeError struct{ Standing *Standing }

func (e *NotWholeError) Error() string {
	return fmt.Sprintf("data folder %s has a copy of another node's state that was still being brought up to date: parts of it are as new as entry %d, and the log ends with entry %d, "+
		"so writes of several keys may be there in part; recover another node's folder", e.Standing.Dir, e.Standing.Whole, e.Standing.LastIndex)
}

// Recover makes the folder of a node the folder of the only node of a new cluster, with all its data. It returns what
// the folder had before and what it has now. After a crash the folder is as before, or done but for what the next start
// does.
func Recover(fs vfs.FS, dir string, now time.Time) (was, is *Standing, err error) {
	lock, _, err := folder.LockReplica(fs, dir)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if was, err = look(fs, dir); err != nil {
		return nil, nil, err
	}
	switch {
	case was.Cluster == 0:
		return was, nil, fmt.Errorf("data folder %s belongs to no cluster yet: there is nothing to recover", dir)
	case was.LastIndex == 0:
		return was, nil, fmt.Errorf("data folder %s has nothing of its cluster yet: there is nothing to recover", dir)
	case !was.IsWhole():
		return was, nil, &NotWholeError{was}
	}
	self := Self{Cluster: folder.NewMemberID(), Node: folder.NewMemberID()}
	if err := was.note(fs, self, now); err != nil {
		return was, nil, err
	}
	index := was.LastIndex + 1
	_, err = createSnapshot(fs, dir, index, func(w io.Writer) error { return was.write(w, self, index) }, func(f vfs.File) error {
		_, err := readSnapshot(f, index, justRead)
		return err
	})
	if err != nil {
		return was, nil, err
	}
	j, err := OpenJournal(JournalOptions{FS: fs, Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = j.Close()
	}
	if err == nil {
		is, err = look(fs, dir)
	}
	return was, is, err
}

// write writes all that the folder has as the state of a node that is alone in its cluster, as of this entry.
func (s *Standing) write(w io.Writer, self Self, index uint64) error {
	out := record.NewSnapshotWriter(w, frame.Header{Magic: MagicSnapshot, ID: self.Cluster, Seq: index})
	if s.Snapshot != 0 {
		if _, err := readSnapshotFile(s.log.o.FS, s.Dir, s.Snapshot, out.AddBlock); err != nil {
			return err
		}
	}
	m := snapshotMeta{whole: index, time: s.meta.time, depth: s.meta.depth, age: s.meta.age}
	err := s.each(func(version uint64, entries []*store.Entry) error {
		for _, e := range entries {
			if now, is := e.Time(); is {
				m.time = max(m.time, now)
			}
			if depth, is := e.Depth(); is {
				m.depth = depth
			}
			if age, is := e.Age(); is {
				m.age = age
			}
			if err := out.AddTail(version, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if m.depth > 0 { // what follows the state may have left more of a key than that
		if err := out.AddTail(s.Version, store.NewDepth(s.Version, m.depth)); err != nil {
			return err
		}
	}
	own := Member{ID: self.Node}
	for _, old := range s.Members {
		if old.ID == s.Node {
			own.Client, own.Peer = old.Client, old.Peer
		}
	}
	m.base = alone(own, index, s.Term+1)
	return finishSnapshot(out, m, s.Version)
}

// alone is the base of a cluster of one member that this kvd begins. The cluster writes the newest format that this kvd
// reads.
func alone(m Member, index, term uint64) Base {
	m.Formats = built
	return Base{Index: index, Term: term, Conf: &pb.ConfState{Voters: []uint64{m.ID}}, Members: Members{m.ID: m},
		Format: built.Newest}
}

// finishSnapshot ends a snapshot.
func finishSnapshot(out *record.SnapshotWriter, m snapshotMeta, version uint64) error {
	place, err := m.append(nil)
	if err != nil {
		return err
	}
	if err := out.AddBlock(place, 0); err != nil {
		return err
	}
	return out.Finish(record.Point{Version: version})
}

// note adds to the folder's notes that it is being made another's, durably.
func (s *Standing) note(fs vfs.FS, self Self, now time.Time) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("note in %s what is done: %w", filepath.Join(s.Dir, Notes), err)
		}
	}()
	name := filepath.Join(s.Dir, Notes)
	f, err := fs.Create(name + folder.TmpSuffix)
	if err != nil {
		return err
	}
	var before int64
	if old, err := fs.Open(name); err == nil {
		if before, err = old.Size(); err == nil {
			err = folder.CopyInto(io.NewOffsetWriter(f, 0), old, 0, before)
		}
		if err = errors.Join(err, old.Close()); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	_, err = fmt.Fprintf(io.NewOffsetWriter(f, before), "%s: node %d of cluster %d, which had all up to entry %d of term %d, and knew that up to entry %d it was committed, "+
		"becomes node %d of cluster %d, whose only member it is, with all that it had.\n",
		now.UTC().Format(time.RFC3339), s.Node, s.Cluster, s.LastIndex, s.LastTerm, s.Committed, self.Node, self.Cluster)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(name+folder.TmpSuffix, name); err != nil {
		return err
	}
	return fs.SyncDir(s.Dir)
}
