package sim

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/cluster"
	"kv/store/vfs/vfstest"
	"kv/store/wal/folder"
)

const dir = "/data"

var (
	errCrash = errors.New("the machine has lost power")
	errDisk  = errors.New("input/output error")
)

// disk is what a node's machine keeps its folder on, and the faults of that.
type disk struct {
	fs              *vfstest.Mem
	durable         cluster.Base  // of the newest snapshot on it
	crashIn, failIn int64         // calls until the machine loses power, or a call fails; 0: not so
	broken          error         // which of the two has happened
	frozen          time.Duration // until then it does not answer
}

// before is called before each call of the file system.
func (d *disk) before(_ int64, op, name string) error {
	if d.broken == errCrash {
		return errCrash // the machine is off
	}
	if d.crashIn > 0 {
		if d.crashIn--; d.crashIn == 0 {
			d.broken = errCrash
			return errCrash
		}
	}
	if d.failIn > 0 {
		if d.failIn--; d.failIn == 0 {
			d.broken = errDisk
			if op == "sync" {
				if _, err := d.fs.Open(name); err != nil {
					name = strings.TrimSuffix(name, folder.TmpSuffix)
				}
				d.fs.FailSync(name)
			}
			return errDisk
		}
	}
	return nil
}

// files is the file system as a process sees it.
func (d *disk) files() *vfstest.Inject { return &vfstest.Inject{FS: d.fs, Before: d.before} }

// found makes the folder of a node: a founder, or with no voters, one that is to join.
func (d *disk) found(id uint64, voters []uint64) error {
	d.fs = vfstest.NewMem()
	if err := d.fs.MkdirAll(dir); err != nil {
		return err
	}
	d.durable = cluster.Base{Conf: &pb.ConfState{}}
	if len(voters) > 0 {
		s := &snapshot{base: cluster.Base{Index: 1, Term: 1, Conf: &pb.ConfState{Voters: voters},
			Members: cluster.Members{}}, state: state{}}
		for _, id := range voters {
			s.base.Members[id] = member(id)
		}
		if err := d.saveSnapshot(s); err != nil {
			return err
		}
	}
	log, err := cluster.NewLog(d.logOptions(), cluster.Self{Node: id})
	if err != nil {
		return err
	}
	return log.Close()
}

func (d *disk) logOptions() cluster.LogOptions {
	return cluster.LogOptions{
		FS: d.files(), Dir: dir, Base: d.durable, Logger: slog.New(slog.DiscardHandler),
		SegmentSize: 2000, CacheBytes: 300, FetchSize: 1500, MarkEvery: 300, Ahead: -1,
	}
}

// saveSnapshot makes a snapshot durable, in the place of any older.
func (d *disk) saveSnapshot(s *snapshot) error {
	fs, name, data := d.files(), filepath.Join(dir, folder.SnapshotName(s.base.Index)), s.encode()
	f, err := fs.Create(name + folder.TmpSuffix)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := fs.Rename(name+folder.TmpSuffix, name); err != nil {
		return err
	}
	if err := fs.SyncDir(dir); err != nil {
		return err
	}
	old := d.durable.Index
	d.durable = s.base
	if old != 0 {
		return fs.Remove(filepath.Join(dir, folder.SnapshotName(old)))
	}
	return nil
}

// newest reads the newest snapshot; an empty one: there is none, since a node has joined and received none yet.
func (d *disk) newest() (*snapshot, error) {
	files, err := folder.Read(d.fs, dir)
	if err != nil {
		return nil, err
	}
	k := len(files.Snapshots)
	if k == 0 {
		return &snapshot{base: cluster.Base{Conf: &pb.ConfState{}}, state: state{}}, nil
	}
	f, err := d.fs.Open(filepath.Join(dir, folder.SnapshotName(files.Snapshots[k-1])))
	if err != nil {
		return nil, err
	}
	size, _ := f.Size()
	data := make([]byte, size)
	f.ReadAt(data, 0)
	return decodeSnapshot(data)
}

// ends is called when the process has ended: where the machine has lost power, what was not synced is gone, or a part of it.
func (d *disk) ends(rng *rand.Rand) {
	if d.broken == errCrash {
		d.fs = d.fs.Crash([]int{0, 50, 100}[rng.IntN(3)], rng)
	}
	d.crashIn, d.failIn, d.broken = 0, 0, nil
}
