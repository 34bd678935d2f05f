package cluster

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/logfile"
)

const (
	// segmentSize is how many bytes a file of the log has before another one is begun.
	segmentSize = 64 << 20
	// cacheBytes is how many bytes of entries stay in memory after they were applied, for followers that are a little behind.
	cacheBytes = 16 << 20
	// cacheEntries is how many those are at most.
	cacheEntries = 16 << 10
	// entryMemory is how many bytes an entry has in memory besides its data.
	entryMemory = 200
	// fetchSize is how many bytes entries take that are read at a time for a follower that is further behind.
	fetchSize = 16 << 20
	// markEvery is how many bytes lie between two entries of which it is known where they are.
	markEvery = 64 << 10
)

// Base is what a durable snapshot of the state has: all up to this entry, and who the members were then.
type Base struct {
	Index, Term uint64
	Conf        *pb.ConfState // who votes
	Members     Members       // where they are
	Format      uint16        // the cluster's
}

// Self is the identity of a node. A log has one from its first moment on: with an empty folder a node is another one.
type Self struct {
	Cluster uint64 // a random number; 0: it belongs to none yet
	Node    uint64 // likewise; no other node has ever had it
	// Founders are those that the cluster began with, at entry 1; none: this node has joined later, or not yet.
	Founders Members
}

// base is where the log of a node begins that has no snapshot: all founders begin alike.
func (s Self) base() Base {
	if len(s.Founders) == 0 {
		return Base{Conf: &pb.ConfState{}}
	}
	return Base{Index: 1, Term: 1, Members: s.Founders, Conf: &pb.ConfState{Voters: slices.Sorted(maps.Keys(s.Founders))}}
}

// LogOptions say where a log is.
type LogOptions struct {
	FS   vfs.FS
	Dir  string // it is there, and locked
	Base Base   // that of the newest durable snapshot; of index 0: there is none
	// Owner is the node that the snapshot belongs to, where Recover has made it: the log is that node's too, whatever
	// the log itself says. The zero value: the log says whose it is.
	Owner  Self
	Logger *slog.Logger
	// Synced is called after each sync that made appends durable, with how long that took. It does not wait. Nil: nothing is.
	Synced func(took time.Duration)
	// SegmentSize, CacheBytes, FetchSize, MarkEvery and Ahead are for tests; 0: what is best.
	SegmentSize, CacheBytes, FetchSize, MarkEvery, Ahead int64
}

// FileLog is a log in files: the write-ahead log of a replica. Entries and hard state are in one file, in order, and what is not
// on disk is told to nobody (C8). It begins behind what a snapshot has, or before that, for followers that lack it.
//
// What it shows to the library is in memory: all that is not applied, and some of what is. What a follower lacks that
// is only on disk is read by Fetch, which the loop does not wait for: meanwhile the library is told that a snapshot
// can't be had yet, and asks again.
type FileLog struct {
	o LogOptions

	// disk is held by whoever changes files; the loop never takes it (C11).
	disk   sync.Mutex
	self   Self
	file   *logfile.File
	number uint64 // of the last record
	failed error  // why nothing is written any more (C9)
	pins   map[*Pin]uint64
	syncs  atomic.Uint64 // a count, publishes nothing

	// mu guards what is in memory. Nobody holds it while he waits for a disk.
	mu       sync.Mutex
	base     Base
	state    *pb.HardState
	prev     entryID // what the log begins behind
	last     uint64
	terms    []entryID   // where a term begins, in order
	segments []*segment  // in order; the last one is being written
	mem      []*pb.Entry // the newest entries, up to last
	applied  uint64
	cached   int64       // bytes of mem up to applied
	left     int         // how many entries have left mem and are held by its array
	fetched  []*pb.Entry // what Fetch has read
	served   uint64      // what was applied when that was asked for, or read, last
	want     uint64      // what it is to read; 0: nothing
	missed   bool        // the last call of Entries wanted it
	cuts     uint64      // how often entries were given up: what was fetched before that does not count
}

var _ Log = (*FileLog)(nil)

// NewLog makes the log of a node that has nothing yet.
func NewLog(o LogOptions, self Self) (*FileLog, error) {
	l := newLog(o)
	l.be(self)
	h := frame.Header{Magic: Magic, ID: folder.NewID(), Seq: 1}
	state := &pb.HardState{Term: new(l.base.Term), Vote: new(uint64(0)), Commit: new(l.base.Index)}
	if err := l.create(h, recordBegin, entryID{l.base.Index, l.base.Term}, state); err != nil {
		return nil, err
	}
	return l, nil
}

// be has the log be this node's.
func (l *FileLog) be(self Self) {
	l.self = self
	if l.base.Index == 0 {
		l.base = self.base()
		l.applied = l.base.Index
	}
}

// Self returns whose log it is.
func (l *FileLog) Self() Self {
	l.disk.Lock()
	defer l.disk.Unlock()
	return l.self
}

// Base returns what the newest durable snapshot has, or what all founders begin with.
func (l *FileLog) Base() Base {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.base
}

// Belong has the log, which is empty, and of no cluster yet, belong to one, durably.
func (l *FileLog) Belong(self Self) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if l.self.Cluster != 0 || l.last != 0 || self.Node != l.self.Node {
		return fmt.Errorf("the log in %s is node %d's, of cluster %d: it can't be another's",
			l.o.Dir, l.self.Node, l.self.Cluster)
	}
	l.mu.Lock()
	l.be(self)
	at := entryID{l.base.Index, l.base.Term}
	l.state = &pb.HardState{Term: new(at.term), Vote: new(uint64(0)), Commit: new(at.index)}
	l.mu.Unlock()
	return l.beginAnew(at)
}

func newLog(o LogOptions) *FileLog {
	if o.SegmentSize == 0 {
		o.SegmentSize = segmentSize
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = cacheBytes
	}
	if o.FetchSize == 0 {
		o.FetchSize = fetchSize
	}
	if o.MarkEvery == 0 {
		o.MarkEvery = markEvery
	}
	if o.Ahead == 0 {
		o.Ahead = 4 << 20
	}
	return &FileLog{o: o, base: o.Base, applied: o.Base.Index, state: &pb.HardState{}, pins: map[*Pin]uint64{}}
}

func (l *FileLog) fileOptions() logfile.Options {
	return logfile.Options{FS: l.o.FS, Dir: l.o.Dir, Ahead: l.o.Ahead, Zeros: max(0, l.o.Ahead/16)}
}
