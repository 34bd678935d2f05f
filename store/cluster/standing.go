package cluster

import (
	"cmp"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store"
	"kv/store/vfs"
	"kv/store/wal/folder"
)

// Standing is the content of the folder of a node that no process uses: how far its log goes, and what it knows of its
// cluster.
type Standing struct {
	Dir           string
	Cluster, Node uint64 // 0: it belongs to no cluster yet
	Term          uint64 // the newest that the node knows of
	// LastTerm and LastIndex are those of the last entry of the log. Of several nodes of a cluster, the one with the
	// highest term there has most, and of those with the same term the one with the highest index: see Compare.
	LastTerm, LastIndex uint64
	Committed           uint64 // up to which entry a majority has them, as far as this node knows
	Snapshot            uint64 // up to which entry all is in the snapshot; 0: there is none
	Whole               uint64 // from which entry on the state is one; above LastIndex: a copy of another's was under way, and it is none
	Version             uint64 // the newest
	Entries             uint64 // of keys, in the state and in the log
	Format              uint16 // the cluster's, as of Committed: see Formats
	Torn                int64  // bytes of a torn tail, which was promised to nobody
	Members             []MemberView

	self Self
	meta snapshotMeta
	log  *FileLog
}

// Compare is for slices.MaxFunc: whose folder has more.
func (s *Standing) Compare(t *Standing) int {
	return cmp.Or(cmp.Compare(s.LastTerm, t.LastTerm), cmp.Compare(s.LastIndex, t.LastIndex))
}

// IsWhole reports whether the state is one.
func (s *Standing) IsWhole() bool { return s.LastIndex >= s.Whole }

// Look reads and verifies all of a node's folder, and changes nothing. The error may be a *LostError.
func Look(fs vfs.FS, dir string) (*Standing, error) {
	lock, err := folder.LockReplicaToRead(fs, dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	return look(fs, dir)
}

func look(fs vfs.FS, dir string) (*Standing, error) {
	s, err := lookAt(fs, dir)
	return s, lost(err)
}

func lookAt(fs vfs.FS, dir string) (*Standing, error) {
	d, err := folder.Read(fs, dir)
	if err != nil {
		return nil, err
	}
	s := &Standing{Dir: dir}
	if len(d.Logs)+len(d.Snapshots) == 0 {
		return nil, fmt.Errorf("data folder %s is empty", dir)
	}
	quiet := slog.New(slog.DiscardHandler)
	o := LogOptions{FS: fs, Dir: dir, Logger: quiet}
	if n := len(d.Snapshots); n > 0 {
		s.meta, err = readSnapshotFile(fs, dir, d.Snapshots[n-1], func(_ []byte, entries uint64) error {
			s.Entries += entries
			return nil
		})
		if err != nil {
			return nil, err
		}
		o.Base = s.meta.base
	}
	l, r, err := readLog(o, d)
	if err != nil {
		return nil, err
	}
	s.log, s.self, s.Torn = l, l.self, r.Torn
	if own := s.meta.owner(); own.Cluster != 0 && own.Cluster != s.self.Cluster && own.Node != 0 { // Recover was interrupted
		s.self = own
	}
	s.Cluster, s.Node, s.Term = s.self.Cluster, s.self.Node, l.state.GetTerm()
	s.LastTerm, s.LastIndex, s.Committed = l.termOf(l.last), l.last, l.state.GetCommit()
	s.Snapshot, s.Whole, s.Version = s.meta.base.Index, s.meta.whole, s.meta.version
	if s.Cluster == 0 {
		return s, nil
	}
	err = s.each(func(version uint64, entries []*store.Entry) error {
		s.Version = max(s.Version, version)
		s.Entries += uint64(len(entries))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, s.knowMembers(quiet)
}

// behind are the entries that are not in the snapshot.
func (s *Standing) behind() []*pb.Entry {
	from := s.log.base.Index + 1
	if s.log.last < from {
		return nil
	}
	return s.log.mem[from-s.log.memFirst():]
}

// each gives all records that are not in the snapshot to f.
func (s *Standing) each(f func(version uint64, entries []*store.Entry) error) error {
	for _, e := range s.behind() {
		if e.GetType() != pb.EntryNormal || len(e.GetData()) == 0 {
			continue
		}
		_, payload, err := parseBatch(e.GetData(), 0)
		if err == nil {
			err = eachRecord(payload, f)
		}
		if err != nil {
			return fmt.Errorf("data folder %s: entry %d: %w", s.Dir, e.GetIndex(), err)
		}
	}
	return nil
}

// knowMembers finds out who the members are, as of what is known to be committed.
func (s *Standing) knowMembers(quiet *slog.Logger) (err error) {
	defer func() {
		if p := recover(); p != nil { // as of a core that runs
			err = fmt.Errorf("data folder %s: who the members are can't be told: %v", filepath.Clean(s.Dir), p)
		}
	}()
	c, err := NewCore(CoreOptions{
		ID: s.Node, Log: s.log, Base: s.log.base, Logger: quiet, Wake: func() {}, Clock: func() time.Duration { return 0 },
	})
	if err != nil {
		return fmt.Errorf("data folder %s: %w", s.Dir, err)
	}
	all := s.behind()
	c.changeMembers(all[:min(uint64(len(all)), s.Committed-min(s.Committed, s.log.base.Index))])
	s.Format = c.format
	for id, m := range c.members {
		s.Members = append(s.Members, MemberView{Member: m, Voter: slices.Contains(c.conf.GetVoters(), id)})
	}
	slices.SortFunc(s.Members, func(a, b MemberView) int { return cmp.Compare(a.ID, b.ID) })
	return nil
}
