package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"sync"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/frame"
	"kv/store/wal/logfile"
)

const (
	// segmentSize is how many bytes a file of the log has before another one is begun.
	segmentSize = 64 << 20
	// keepApplied is how many bytes of entries stay in memory after they were applied, for followers that are a little behind.
	keepApplied = 16 << 20
	// fetchSize is how many bytes of entries are read at a time for a follower that is further behind.
	fetchSize = 16 << 20
)

// Base is what a durable snapshot of the state has: all up to this entry, and who the members were then.
type Base struct {
	Index, Term uint64
	Conf        *pb.ConfState // who votes
	Members     Members       // where they are
}

// Self is who a node is. A log has it from its first moment: a folder that is empty is another node.
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
	FS     vfs.FS
	Dir    string // it is there, and locked
	Base   Base   // that of the newest durable snapshot; of index 0: there is none
	Logger *slog.Logger
	// SegmentSize, KeepApplied, FetchSize and Ahead are for tests; 0: what is best.
	SegmentSize, KeepApplied, FetchSize, Ahead int64
}

// FileLog is a log in files: the write-ahead log of a replica. Entries and hard state are in one file, in order, and what is not
// on disk is told to nobody (C8). It begins behind what a snapshot has, or before that, for followers that lack it.
//
// What it shows to the library is in memory: all that is not applied, and some of what is. What a follower lacks that is only on
// disk is read by Fetch, which the loop does not wait for: meanwhile the library is told that a snapshot can't be had yet, and asks
// again.
type FileLog struct {
	o LogOptions

	// disk is held by whoever changes files; the loop never takes it (C11).
	disk   sync.Mutex
	self   Self
	file   *logfile.File
	number uint64 // of the last record
	failed error  // why nothing is written any more (C9)
	pins   map[*Pin]uint64

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
	kept     int64       // bytes of mem up to applied
	fetched  []*pb.Entry // what Fetch has read
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
		return fmt.Errorf("the log in %s is node %016x's, of cluster %016x: it can't be another's", l.o.Dir, l.self.Node, l.self.Cluster)
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
	if o.KeepApplied == 0 {
		o.KeepApplied = keepApplied
	}
	if o.FetchSize == 0 {
		o.FetchSize = fetchSize
	}
	if o.Ahead == 0 {
		o.Ahead = 4 << 20
	}
	return &FileLog{o: o, base: o.Base, applied: o.Base.Index, state: &pb.HardState{}, pins: map[*Pin]uint64{}}
}

// LostError says that the log has lost what this node may have told others that it has.
type LostError struct{ Damage *folder.DamageError }

func (e *LostError) Error() string {
	d := e.Damage
	return fmt.Sprintf("%s is damaged at offset %d: %s; this node may have told others that it has what is lost, and must not vote any more: "+
		"remove the folder, and let the node join anew", filepath.Join(d.Dir, d.File), d.Offset, d.Detail)
}

// Unwrap returns the damage.
func (e *LostError) Unwrap() error { return e.Damage }

// OpenLog opens the log that is there, cuts off what a crash has torn and nobody was promised, and goes on in a new file. A *LostError says
// that more than that is missing.
func OpenLog(o LogOptions) (*FileLog, error) {
	l, err := openLog(o)
	if damage := (*folder.DamageError)(nil); errors.As(err, &damage) {
		return nil, &LostError{damage}
	}
	return l, err
}

func openLog(o LogOptions) (*FileLog, error) {
	l := newLog(o)
	d, err := folder.Read(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	for _, name := range d.Tmp {
		if err := o.FS.Remove(filepath.Join(o.Dir, name)); err != nil {
			return nil, fmt.Errorf("remove what a crash left unfinished: %w", err)
		}
	}
	if len(d.Logs) == 0 {
		return nil, &folder.DamageError{Dir: o.Dir, File: folder.LogName(1), Detail: "the log is missing"}
	}
	for i, seq := range d.Logs[1:] {
		if want := d.Logs[i] + 1; seq != want {
			return nil, &folder.DamageError{Dir: o.Dir, File: folder.LogName(want), Detail: "the file is missing"}
		}
	}
	oldest, self := uint64(0), Self{}
	r := logfile.Reader{
		FS: o.FS, Dir: o.Dir, Magic: Magic, Logger: o.Logger,
		Valid: func(body []byte) bool {
			_, err := parseLogRecord(body)
			return err == nil || len(body) == frame.RecordHead
		},
		Apply: func(_ uint64, body []byte) error {
			r, err := parseLogRecord(body)
			oldest = max(oldest, r.seq)
			if r.self != nil {
				self = *r.self
			}
			return err
		},
	}
	first, err := firstBase(o, d.Logs[0])
	if err != nil {
		return nil, err
	}
	if err := r.Read(d.Logs, first); err != nil {
		return nil, err
	}
	if l.file, err = r.Resume(l.fileOptions()); err != nil {
		return nil, err
	}
	l.number = r.Last
	l.be(self)
	if err := l.load(oldest); err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return l, nil
}

// firstBase returns the position of the oldest file: those before it have gone.
func firstBase(o LogOptions, seq uint64) (int64, error) {
	r := logfile.Reader{FS: o.FS, Dir: o.Dir, Magic: Magic}
	f, _, h, err := r.Open(folder.LogName(seq), Magic, seq)
	if err != nil {
		return 0, err
	}
	return h.Base, f.Close()
}

func (l *FileLog) fileOptions() logfile.Options {
	return logfile.Options{FS: l.o.FS, Dir: l.o.Dir, Ahead: l.o.Ahead, Zeros: max(0, l.o.Ahead/16)}
}

// load reads the files from the oldest on into memory, and begins a file to go on in. What a start has written again is read where
// it is now.
func (l *FileLog) load(oldest uint64) error {
	d, err := folder.Read(l.o.FS, l.o.Dir)
	if err != nil {
		return err
	}
	for _, seq := range d.Logs {
		if seq < oldest {
			if err := l.remove(&segment{seq: seq}); err != nil {
				return err
			}
			continue
		}
		s, err := openSegment(l.o, seq)
		if err != nil {
			return err
		}
		if n := len(l.segments); n > 0 {
			l.segments[n-1].end = s.base - l.segments[n-1].base
		}
		l.segments = append(l.segments, s)
	}
	l.segments[len(l.segments)-1].end = l.file.Size()
	began := false
	for _, s := range l.segments {
		err := s.read(l.o, func(off int64, r logRecord) error {
			switch {
			case r.kind == recordState:
				l.state = r.state
			case r.kind == recordBegin, r.kind == recordHead:
				if r.kind == recordBegin || !began {
					l.beginAt(r.place)
					began = true
				}
				s.begin(r.place)
			case r.kind == recordEntry && began:
				if err := l.put(s, off, r.entry); err != nil {
					return &folder.DamageError{Dir: l.o.Dir, File: folder.LogName(s.seq), Offset: off, Detail: err.Error()}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return l.join(began)
}

// join has the log go on where the snapshot ends.
func (l *FileLog) join(began bool) error {
	base := entryID{l.base.Index, l.base.Term}
	if !began || base.index < l.prev.index {
		return &folder.DamageError{Dir: l.o.Dir, File: folder.LogName(l.segments[0].seq), Detail: fmt.Sprintf(
			"the log begins behind entry %d, and the snapshot ends at entry %d", l.prev.index, base.index)}
	}
	l.state.Commit = new(min(max(l.state.GetCommit(), base.index), max(l.last, base.index)))
	if term, err := l.Term(base.index); err != nil || term != base.term {
		// A snapshot was received, and a crash came before the log knew of it.
		l.beginAt(base)
		if base.term > l.state.GetTerm() {
			l.state.Term, l.state.Vote = new(base.term), new(uint64(0))
		}
		return l.beginAnew(base)
	}
	return l.rotate(recordHead, entryID{l.last, l.termOf(l.last)})
}

// beginAt has the log begin behind an entry, empty.
func (l *FileLog) beginAt(at entryID) {
	l.prev, l.last = at, at.index
	l.terms, l.mem, l.fetched, l.want, l.kept = nil, nil, nil, 0, 0
	l.cuts++
	l.applied = max(l.applied, at.index)
}

// put takes an entry, which is in s at off, into memory, in the place of all from its index on.
func (l *FileLog) put(s *segment, off int64, e *pb.Entry) error {
	index := e.GetIndex()
	if index <= l.prev.index || index > l.last+1 {
		return fmt.Errorf("entry %d follows entry %d", index, l.last)
	}
	if e.GetTerm() < l.termOf(index-1) {
		return fmt.Errorf("entry %d is of term %d, and the one before of term %d", index, e.GetTerm(), l.termOf(index-1))
	}
	s.put(index, off)
	if index <= l.last {
		l.cut(index)
	}
	if e.GetTerm() != l.termOf(l.last) {
		l.terms = append(l.terms, entryID{index, e.GetTerm()})
	}
	l.last = index
	if index > l.applied || len(l.mem) > 0 { // nothing that is applied at a start is needed in memory
		l.mem = append(l.mem, e)
	}
	return nil
}

// cut gives up the entries from index on.
func (l *FileLog) cut(index uint64) {
	l.last = index - 1
	l.cuts++
	for n := len(l.terms); n > 0 && l.terms[n-1].index >= index; n-- {
		l.terms = l.terms[:n-1]
	}
	if first := l.memFirst(); index <= first {
		l.mem = nil
	} else {
		l.mem = slices.Clone(l.mem[:index-first]) // the library may have the rest
	}
	if n := len(l.fetched); n > 0 && l.fetched[n-1].GetIndex() >= index {
		l.fetched = nil
	}
}

// memFirst is the index of the first entry in memory. It is called before last changes, or after mem has.
func (l *FileLog) memFirst() uint64 {
	if len(l.mem) == 0 {
		return l.last + 1
	}
	return l.mem[0].GetIndex()
}

// termOf returns the term of an entry that the log has, or begins behind.
func (l *FileLog) termOf(index uint64) uint64 {
	n := sort.Search(len(l.terms), func(i int) bool { return l.terms[i].index > index })
	if n == 0 {
		return l.prev.term
	}
	return l.terms[n-1].term
}

// InitialState is part of raft.Storage.
func (l *FileLog) InitialState() (*pb.HardState, *pb.ConfState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state, l.base.Conf, nil
}

// Entries is part of raft.Storage.
func (l *FileLog) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed = false
	switch {
	case lo <= l.prev.index:
		return nil, raft.ErrCompacted
	case hi > l.last+1:
		return nil, raft.ErrUnavailable
	}
	from := l.mem
	if lo < l.memFirst() {
		from = l.fetched
		if n := len(from); n == 0 || lo < from[0].GetIndex() || lo > from[n-1].GetIndex() {
			l.want, l.missed = lo, true
			return nil, raft.ErrCompacted // see Snapshot
		}
		if half := from[len(from)/2].GetIndex(); lo > half && l.want == 0 {
			l.want = from[len(from)-1].GetIndex() + 1 // it will be asked for next
			if l.want >= l.memFirst() {
				l.want = 0
			}
		}
	}
	from = from[lo-from[0].GetIndex():]
	from = from[:min(hi-lo, uint64(len(from)))]
	return limitSize(from, maxSize), nil
}

// limitSize returns as many entries as have no more bytes than maxSize, and one at least.
func limitSize(entries []*pb.Entry, maxSize uint64) []*pb.Entry {
	var size uint64
	for i, e := range entries {
		size += uint64(len(e.GetData())) + entryHead
		if size > maxSize && i > 0 {
			return entries[:i:i]
		}
	}
	return entries[:len(entries):len(entries)]
}

// Term is part of raft.Storage.
func (l *FileLog) Term(index uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed = false
	switch {
	case index < l.prev.index:
		return 0, raft.ErrCompacted
	case index > l.last:
		return 0, raft.ErrUnavailable
	}
	return l.termOf(index), nil
}

// LastIndex is part of raft.Storage.
func (l *FileLog) LastIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, nil
}

// FirstIndex is part of raft.Storage.
func (l *FileLog) FirstIndex() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.prev.index + 1, nil
}

// Snapshot is part of raft.Storage, of which only the error counts: whether what Entries did not have is being fetched.
func (l *FileLog) Snapshot() (*pb.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.missed {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return nil, nil
}

// Applied says up to which index the log has been applied: what is before may leave the memory.
func (l *FileLog) Applied(index uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.memFirst()
	for i := max(l.applied+1, first); i <= min(index, l.last); i++ {
		l.kept += int64(len(l.mem[i-first].GetData()))
	}
	l.applied = max(l.applied, index)
	n := 0
	for l.kept > l.o.KeepApplied && n < len(l.mem) && l.mem[n].GetIndex() <= l.applied {
		l.kept -= int64(len(l.mem[n].GetData()))
		n++
	}
	l.mem = l.mem[n:]
}
