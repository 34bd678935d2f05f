package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/vfs"
	"kv/store/vfs/vfstest"
	"kv/store/wal/folder"
)

func entry(index, term uint64, data string) *pb.Entry {
	return &pb.Entry{Index: new(index), Term: new(term), Type: pb.EntryNormal.Enum(), Data: []byte(data)}
}

func hardState(term, vote, commit uint64) *pb.HardState {
	return &pb.HardState{Term: new(term), Vote: new(vote), Commit: new(commit)}
}

// smallLog has files of few entries.
func smallLog(fs *vfstest.Mem, base uint64) LogOptions {
	return LogOptions{
		FS: fs, Dir: "/log", Base: Base{Index: base, Term: 1, Conf: &pb.ConfState{Voters: []uint64{1}}},
		Logger: slog.New(slog.DiscardHandler), SegmentSize: 600, CacheBytes: 1, FetchSize: 1200, MarkEvery: 150, Ahead: -1,
	}
}

func newFS(t require.TestingT) *vfstest.Mem {
	fs := vfstest.NewMem()
	require.NoError(t, fs.MkdirAll("/log"))
	return fs
}

// show is what a log has: entries as "index/term data".
func show(t require.TestingT, l *FileLog) (all []string) {
	first, err := l.FirstIndex()
	require.NoError(t, err)
	last, err := l.LastIndex()
	require.NoError(t, err)
	for first <= last {
		entries, err := l.Entries(first, last+1, 1<<20)
		if err == raft.ErrCompacted {
			_, err := l.Snapshot()
			require.Equal(t, raft.ErrSnapshotTemporarilyUnavailable, err)
			require.True(t, l.Wants())
			require.NoError(t, l.Fetch())
			require.False(t, l.Wants())
			continue
		}
		require.NoError(t, err)
		require.NotEmpty(t, entries)
		for _, e := range entries {
			require.Equal(t, first, e.GetIndex())
			term, err := l.Term(first)
			require.NoError(t, err)
			require.Equal(t, e.GetTerm(), term)
			all = append(all, fmt.Sprintf("%d/%d %s", e.GetIndex(), e.GetTerm(), e.GetData()))
			first++
		}
	}
	return all
}

func TestLogKeepsEntriesAndState(t *testing.T) {
	fs := newFS(t)
	o := smallLog(fs, 1)
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	require.NoError(t, l.Save([]*Append{
		{HardState: hardState(2, 3, 1), Entries: []*pb.Entry{entry(2, 2, "a"), entry(3, 2, "b"), entry(4, 2, "c")}, Sync: true},
		{Entries: []*pb.Entry{entry(3, 3, strings.Repeat("B", 20000)), entry(4, 3, "")}, HardState: hardState(3, 0, 2), Sync: true},
	}))
	want := []string{"2/2 a", "3/3 " + strings.Repeat("B", 20000), "4/3 "}
	require.Equal(t, want, show(t, l))
	require.NoError(t, l.Close())
	require.Error(t, l.Save(nil))

	for range 3 { // each start begins a file
		l, err = OpenLog(o)
		require.NoError(t, err)
		require.Equal(t, want, show(t, l))
		hs, conf, err := l.InitialState()
		require.NoError(t, err)
		require.Equal(t, hardState(3, 0, 2).String(), hs.String())
		require.Equal(t, []uint64{1}, conf.GetVoters())
		require.NoError(t, l.Close())
	}
	_, err = l.Entries(1, 2, 100)
	require.Equal(t, raft.ErrCompacted, err)
	_, err = l.Entries(4, 6, 100)
	require.Equal(t, raft.ErrUnavailable, err)
	_, err = l.Term(5)
	require.Equal(t, raft.ErrUnavailable, err)
}

// However small entries are, no more than so many stay in memory, and the others are read again; where they are is
// known by the bytes, and not for each of them.
func TestLogForgetsSmallEntries(t *testing.T) {
	o := smallLog(newFS(t), 1)
	o.SegmentSize, o.CacheBytes, o.FetchSize, o.MarkEvery = 0, 0, 0, 0
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	defer l.Close()
	var all []*pb.Entry
	for i := range uint64(cacheEntries + 1000) {
		all = append(all, entry(i+2, 1, "x"))
	}
	last := all[len(all)-1].GetIndex()
	require.NoError(t, l.Save([]*Append{{Entries: all, Sync: true}}))
	l.Applied(last - 10)
	require.Len(t, l.mem, cacheEntries+10, "what is not applied stays, too")
	require.Equal(t, last-10-cacheEntries+1, l.memFirst())
	require.Len(t, show(t, l), len(all))
	require.Len(t, l.segments, 1)
	require.LessOrEqual(t, cap(l.segments[0].marks), int(2*l.file.Size()/markEvery))
}

// What has left the memory is held by nothing, after a start as behind each write, and what was fetched goes once it is
// not asked for any more.
func TestLogHoldsNoEntriesThatItHasGivenUp(t *testing.T) {
	o := smallLog(newFS(t), 1)
	o.SegmentSize, o.CacheBytes, o.FetchSize, o.MarkEvery = 0, 0, 0, 0
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	var all []weak.Pointer[pb.Entry]
	last := uint64(1)
	write := func(n int) {
		var some []*pb.Entry
		for range n {
			last++
			some = append(some, entry(last, 1, "x"))
			all = append(all, weak.Make(some[len(some)-1]))
		}
		require.NoError(t, l.Save([]*Append{{Entries: some, Sync: true}}))
		l.Applied(last)
	}
	held := func() (n int) {
		runtime.GC()
		for _, w := range all {
			if w.Value() != nil {
				n++
			}
		}
		return n
	}
	for range 300 {
		write(300)
	}
	require.Less(t, held(), cacheEntries*5/4+2)
	require.NoError(t, l.Close())

	l, err = OpenLog(o)
	require.NoError(t, err)
	defer l.Close()
	all = nil
	for _, e := range l.mem {
		all = append(all, weak.Make(e))
	}
	require.Len(t, all, int(last-1))
	l.Applied(last)
	require.Less(t, held(), cacheEntries*5/4+2)

	_, err = l.Entries(2, last, 1<<20)
	require.Equal(t, raft.ErrCompacted, err)
	require.NoError(t, l.Fetch())
	require.NotEmpty(t, l.fetched)
	require.Less(t, len(l.fetched)*entryMemory, fetchSize+2*entryMemory)
	write(cacheEntries)
	require.NotEmpty(t, l.fetched)
	_, err = l.Entries(2, last, 1<<20)
	require.NoError(t, err)
	write(cacheEntries)
	require.NotEmpty(t, l.fetched, "it was asked for in between")
	write(1)
	require.Empty(t, l.fetched)
}

// Where each entry is that counts is found from the marks, whatever has taken the place of what.
func TestLogFindsEntriesFromMarks(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	o := smallLog(newFS(t), 1)
	o.SegmentSize, o.MarkEvery, o.FetchSize = 100_000, 0, 20_000
	for _, o.MarkEvery = range []int64{1, 500, 5000, 0} {
		o.FS = newFS(t)
		l, err := NewLog(o, Self{})
		require.NoError(t, err)
		var want []string
		for term := uint64(1); term < 400; term++ {
			from := max(0, len(want)-rng.IntN(30))
			want = want[:from]
			var some []*pb.Entry
			for range 1 + rng.IntN(40) {
				data := strings.Repeat("x", rng.IntN(300))
				some = append(some, entry(uint64(len(want))+2, term, data))
				want = append(want, fmt.Sprintf("%d/%d %s", len(want)+2, term, data))
			}
			require.NoError(t, l.Save([]*Append{{HardState: hardState(term, 1, 1), Entries: some, Sync: true}}))
		}
		require.Greater(t, len(l.segments), 10)
		l.Applied(uint64(len(want)) + 1)
		require.Less(t, len(l.mem), 2)
		require.Equal(t, want, show(t, l))
		for range 100 { // and from anywhere on
			i := rng.IntN(len(want) - 1)
			l.fetched, l.want = nil, uint64(i)+2
			require.NoError(t, l.Fetch())
			require.Equal(t, want[i], fmt.Sprintf("%d/%d %s", l.fetched[0].GetIndex(), l.fetched[0].GetTerm(), l.fetched[0].GetData()))
		}
		require.NoError(t, l.Close())
		l, err = OpenLog(o)
		require.NoError(t, err)
		l.Applied(uint64(len(want)) + 1)
		require.Equal(t, want, show(t, l))
		require.NoError(t, l.Close())
	}
}

func TestLogIsReplacedAcrossFiles(t *testing.T) {
	fs := newFS(t)
	o := smallLog(fs, 1)
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	for i := uint64(2); i < 60; i++ {
		require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(i, 2, "old")}, Sync: true}}))
	}
	files := len(l.segments)
	require.Greater(t, files, 3)
	require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(10, 5, "new")}, HardState: hardState(5, 0, 1), Sync: true}}))
	require.Len(t, show(t, l), 9)
	for i := uint64(11); i < 30; i++ {
		require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(i, 5, "new")}, Sync: true}}))
	}
	l.Applied(29)
	want := show(t, l)
	require.Len(t, want, 28)
	require.Equal(t, "9/2 old", want[7])
	require.Equal(t, "10/5 new", want[8])
	require.NoError(t, l.Close())
	l, err = OpenLog(o)
	require.NoError(t, err)
	require.Equal(t, want, show(t, l))
}

// C12
func TestLogGoesOnlyBehindADurableSnapshotAndPins(t *testing.T) {
	fs := newFS(t)
	o := smallLog(fs, 1)
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	for i := uint64(2); i < 100; i++ {
		require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(i, 2, "x")}, HardState: hardState(2, 0, i), Sync: true}}))
	}
	l.Applied(99)
	first := func() uint64 {
		i, err := l.FirstIndex()
		require.NoError(t, err)
		return i
	}
	require.NoError(t, l.Compact(99, 0, 99))
	require.EqualValues(t, 2, first(), "no snapshot has it")
	pin := l.Pin(20)
	l.Snapshotted(Base{Index: 80, Term: 2})
	require.NoError(t, l.Compact(99, 0, 99))
	require.Greater(t, first(), uint64(10))
	require.LessOrEqual(t, first(), uint64(21))
	pin.Release()
	require.NoError(t, l.Compact(50, 0, 50))
	require.LessOrEqual(t, first(), uint64(51))
	require.NoError(t, l.Compact(99, 0, 99))
	require.Greater(t, first(), uint64(60))
	require.LessOrEqual(t, first(), uint64(81))
	want := show(t, l)
	require.NoError(t, l.Close())

	o.Base = Base{Index: 80, Term: 2}
	l, err = OpenLog(o)
	require.NoError(t, err)
	require.Equal(t, want, show(t, l))
	o.Base = Base{Index: 40, Term: 2}
	require.NoError(t, l.Close())
	_, err = OpenLog(o)
	require.ErrorContains(t, err, "the snapshot ends at entry 40")
}

func TestLogFetchesWhatIsNotInMemory(t *testing.T) {
	l, err := NewLog(smallLog(newFS(t), 1), Self{})
	require.NoError(t, err)
	for i := uint64(2); i < 50; i++ {
		require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(i, 2, "x")}, Sync: true}}))
	}
	l.Applied(40)
	require.LessOrEqual(t, len(l.mem), 10)
	require.Len(t, show(t, l), 48)

	_, err = l.Entries(5, 50, 100)
	require.Equal(t, raft.ErrCompacted, err)
	require.True(t, l.Wants())
	_, err = l.Term(4)
	require.NoError(t, err)
	_, err = l.Snapshot()
	require.NoError(t, err, "a snapshot is needed where it is the term that is not there")
	require.NoError(t, l.Fetch())
	entries, err := l.Entries(5, 50, 1)
	require.NoError(t, err)
	require.Len(t, entries, 1)

	// What comes next is fetched before it is asked for, and what was fetched before stays until it was.
	last := l.fetched[len(l.fetched)-1].GetIndex()
	_, err = l.Entries(last, last+1, 1)
	require.NoError(t, err)
	require.True(t, l.Wants())
	require.NoError(t, l.Fetch())
	for _, index := range []uint64{last, last + 1} {
		entries, err = l.Entries(index, index+1, 1)
		require.NoError(t, err)
		require.Equal(t, index, entries[0].GetIndex())
	}

}

// hookFS calls a function once, before a file is opened.
type hookFS struct {
	*vfstest.Mem
	before func()
}

func (h *hookFS) Open(name string) (vfs.File, error) {
	if f := h.before; f != nil {
		h.before = nil
		f()
	}
	return h.Mem.Open(name)
}

func TestWhatIsReplacedWhileItIsFetchedDoesNotCount(t *testing.T) {
	fs := &hookFS{Mem: newFS(t)}
	o := smallLog(fs.Mem, 1)
	o.FS, o.SegmentSize, o.FetchSize = fs, 1<<20, 1<<20
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	for i := uint64(2); i < 50; i++ {
		require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(i, 2, "x")}, Sync: true}}))
	}
	l.Applied(40)
	_, err = l.Entries(5, 50, 100)
	require.Equal(t, raft.ErrCompacted, err)
	fs.before = func() {
		require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(45, 3, "y")}, Sync: true}}))
	}
	require.NoError(t, l.Fetch())
	require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(46, 3, "y"), entry(47, 3, "y")}, Sync: true}}))
	l.Applied(47) // they leave the memory
	entries, err := l.Entries(45, 46, 100)
	if err == raft.ErrCompacted {
		require.NoError(t, l.Fetch())
		entries, err = l.Entries(45, 46, 100)
	}
	require.NoError(t, err)
	require.Equal(t, "y", string(entries[0].GetData()))
}

func TestLogBeginsAnewBehindASnapshot(t *testing.T) {
	fs := newFS(t)
	o := smallLog(fs, 1)
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	for i := uint64(2); i < 30; i++ {
		require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(i, 2, "x")}, HardState: hardState(2, 9, 2), Sync: true}}))
	}
	snap := &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(uint64(70)), Term: new(uint64(4)), ConfState: &pb.ConfState{Voters: []uint64{1, 2}}}}
	before := fs.Crash(100, nil)
	require.NoError(t, l.Save([]*Append{{Snapshot: snap, HardState: hardState(5, 0, 70), Entries: []*pb.Entry{entry(71, 5, "y")}, Sync: true}}))
	require.Equal(t, []string{"71/5 y"}, show(t, l))
	names, err := fs.List("/log")
	require.NoError(t, err)
	require.Len(t, names, 1)
	o.Base = Base{Index: 70, Term: 4, Conf: snap.GetMetadata().GetConfState()}
	require.NoError(t, l.Close())
	l, err = OpenLog(o)
	require.NoError(t, err)
	require.Equal(t, []string{"71/5 y"}, show(t, l))
	require.NoError(t, l.Close())

	o.FS = before // the snapshot is on disk, and the log does not know yet
	l, err = OpenLog(o)
	require.NoError(t, err)
	require.Empty(t, show(t, l))
	hs, _, err := l.InitialState()
	require.NoError(t, err)
	require.Equal(t, hardState(4, 0, 70).String(), hs.String(), "it has not voted in that term")
	require.NoError(t, l.Compact(5, 0, 5))
	require.NoError(t, l.Compact(70, 0, 70))
	first, err := l.FirstIndex()
	require.NoError(t, err)
	require.EqualValues(t, 71, first, "files of before do not count")
	names, err = before.List("/log")
	require.NoError(t, err)
	require.Len(t, names, 1)
}

func TestALogThatLostWhatItPromisedIsRefused(t *testing.T) {
	fs := newFS(t)
	o := smallLog(fs, 1)
	o.SegmentSize = 1 << 20
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	for i := uint64(2); i < 20; i++ {
		require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(i, 2, "x")}, Sync: true}}))
	}
	name := "/log/" + folder.LogName(l.file.Header().Seq)
	require.NoError(t, l.Close())
	whole := fs.Snapshot()[name]
	lost := func(data []byte) {
		bad := newFS(t)
		bad.WriteFile(name, data)
		o := o
		o.FS = bad
		_, err := OpenLog(o)
		var e *LostError
		require.ErrorAs(t, err, &e)
		require.ErrorContains(t, err, "let the node join anew")
		require.NotContains(t, err.Error(), "kvd repair")
	}
	flipped := slices.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	lost(flipped)
	lost(whole[:20])

	o.FS = newFS(t)
	_, err = OpenLog(o)
	require.ErrorContains(t, err, "the log is missing")
}

// promises is what a log has told others, and must have after a crash.
type promises struct {
	term, vote uint64
	entries    []string // all that is on disk for certain, from index 2 on
	base       uint64   // of the durable snapshot
}

// script is a random run of a log, against a model of what it promised.
type script struct {
	rng      *rand.Rand
	log      *FileLog
	promised promises
	all      []string // all that was given to it, from index 2 on
	terms    []uint64
	term     uint64
	commit   uint64
	settled  []string // what was committed, from index 2 on: it never changes
	failed   bool     // the last Save has
}

// settle says that all up to index is committed.
func (s *script) settle(index uint64) {
	s.commit = max(s.commit, index)
	s.settled = append(s.settled, s.all[len(s.settled):s.commit-1]...)
}

func (s *script) save(appends []*Append) error {
	err := s.log.Save(appends)
	s.failed = err != nil
	return err
}

func (s *script) next(index uint64) *pb.Entry {
	e := entry(index, s.term, strings.Repeat("x", s.rng.IntN(60)))
	if s.rng.IntN(50) == 0 {
		e.Data = []byte(strings.Repeat("y", 17000))
	}
	s.all = append(s.all[:index-2], fmt.Sprintf("%d/%d %s", index, s.term, e.GetData()))
	s.terms = append(s.terms[:index-2], s.term)
	if index-2 < uint64(len(s.promised.entries)) { // once it is replaced, it is promised no more
		s.promised.entries = s.promised.entries[:index-2]
	}
	return e
}

// step does something, and notes what was promised if there was no error.
func (s *script) step() error {
	last := uint64(len(s.all)) + 1
	if s.rng.IntN(6) == 0 {
		i := s.promised.base + uint64(s.rng.IntN(int(s.commit-s.promised.base)+1))
		term := uint64(1)
		if i >= 2 {
			term = s.terms[i-2]
		}
		s.log.Applied(i)
		s.log.Snapshotted(Base{Index: i, Term: term})
		s.promised.base = i
		return s.log.Compact(i-min(i, uint64(s.rng.IntN(10))), int64(s.rng.IntN(3))*1000, i-min(i, uint64(s.rng.IntN(30))))
	}
	if s.rng.IntN(20) == 0 { // a snapshot was received, and is durable
		i := last + 1 + uint64(s.rng.IntN(4))
		for uint64(len(s.all))+1 < i {
			s.all, s.terms = append(s.all, "in the snapshot"), append(s.terms, s.term)
		}
		s.settle(i)
		s.promised.base, s.promised.entries = i, slices.Clone(s.all)
		return s.save([]*Append{{Sync: true, Snapshot: &pb.Snapshot{Metadata: &pb.SnapshotMetadata{
			Index: new(i), Term: new(s.term), ConfState: &pb.ConfState{},
		}}}})
	}
	var appends []*Append
	sync := false
	var hs *pb.HardState
	for range 1 + s.rng.IntN(3) {
		a := &Append{Sync: s.rng.IntN(3) > 0}
		at := last + 1
		if s.rng.IntN(5) == 0 {
			s.term++
			if at = s.commit + 1 + uint64(s.rng.IntN(int(last-s.commit)+1)); at > last {
				at = last + 1
			}
			hs = hardState(s.term, uint64(s.rng.IntN(3)), s.commit)
			a.HardState = hs
			a.Sync = true
		}
		for range s.rng.IntN(4) {
			a.Entries = append(a.Entries, s.next(at))
			last = at
			at++
		}
		last = uint64(len(s.all)) + 1
		if a.HardState != nil && len(a.Entries) > 0 && s.rng.IntN(2) == 0 { // another leader has committed them already
			s.settle(last)
			hs = hardState(s.term, a.HardState.GetVote(), s.commit)
			a.HardState = hs
		}
		if a.HardState == nil && s.rng.IntN(2) == 0 {
			vote := uint64(0)
			if hs != nil {
				vote = hs.GetVote()
			} else {
				vote = s.promised.vote
			}
			s.settle(min(last, s.commit+uint64(s.rng.IntN(3))))
			hs = hardState(s.term, vote, s.commit)
			a.HardState = hs
		}
		sync = sync || a.Sync
		appends = append(appends, a)
	}
	if err := s.save(appends); err != nil {
		return err
	}
	if sync {
		s.promised.entries = slices.Clone(s.all)
		if hs != nil {
			s.promised.term, s.promised.vote = hs.GetTerm(), hs.GetVote()
		}
	}
	return nil
}

// check compares what is there after a start with what was promised.
func (s *script) check(t require.TestingT) {
	hs, _, err := s.log.InitialState()
	require.NoError(t, err)
	require.GreaterOrEqual(t, hs.GetTerm(), s.promised.term)
	if hs.GetTerm() == s.promised.term {
		require.Equal(t, s.promised.vote, hs.GetVote())
	}
	first, _ := s.log.FirstIndex()
	require.LessOrEqual(t, first, s.promised.base+1)
	got := show(t, s.log)
	for i, want := range s.promised.entries {
		if index := uint64(i) + 2; index >= first {
			require.Greater(t, uint64(len(got)), index-first, "entry %d is lost", index)
			require.Equal(t, want, got[index-first])
		}
	}
	last, _ := s.log.LastIndex()
	require.LessOrEqual(t, hs.GetCommit(), last)
	for index := first; index <= hs.GetCommit(); index++ {
		require.Equal(t, s.settled[index-2], got[index-first], "what it says is committed is another entry %d", index)
	}
	// What was not promised may be there or not; from here on it is what there is.
	s.all = append(s.all[:first-2:first-2], got...)
	s.terms = s.terms[:first-2]
	for i := range got {
		term, err := s.log.Term(first + uint64(i))
		require.NoError(t, err)
		s.terms = append(s.terms, term)
	}
	s.term, s.commit = max(s.term, hs.GetTerm()), max(hs.GetCommit(), s.promised.base)
	s.settled = s.settled[:s.commit-1] // what was committed beyond is not known here, and may be given again
	s.promised.term, s.promised.vote = hs.GetTerm(), hs.GetVote()
	s.promised.entries = slices.Clone(s.all)
}

var errCrash = errors.New("crash")

// TestLogCrash crashes a log at any call of the file system, or has one fail, again and again, and looks for what it
// had promised.
func TestLogCrash(t *testing.T) {
	seeds := uint64(300)
	if os.Getenv("KV_SOAK") != "" {
		seeds = 20000
	}
	for seed := range seeds {
		require.True(t, t.Run(fmt.Sprint(seed), func(t *testing.T) { crashLog(t, seed) }))
	}
}

func crashLog(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	fs := newFS(t)
	s := &script{rng: rng, term: 1, commit: 1, promised: promises{base: 1, term: 1}}
	options := func(fs *vfstest.Mem, inject *vfstest.Inject) LogOptions {
		o := smallLog(fs, s.promised.base)
		if i := s.promised.base; i >= 2 {
			o.Base.Term = s.terms[i-2]
		}
		o.FS = inject
		if seed%3 == 0 {
			o.Ahead = 2000
		}
		return o
	}
	var err error
	s.log, err = NewLog(options(fs, &vfstest.Inject{FS: fs}), Self{})
	require.NoError(t, err)
	require.NoError(t, s.log.Close())
	for range 12 {
		at := int64(1 + rng.IntN(60))
		failure := error(errCrash)
		if rng.IntN(3) == 0 {
			failure = syscall.EIO
		}
		calls := int64(0)
		inject := &vfstest.Inject{FS: fs, Before: func(n int64, op, name string) error {
			calls = n
			if n == at || failure == errCrash && n > at {
				if failure == syscall.EIO && op == "sync" {
					if _, err := fs.Open(name); err != nil {
						name = strings.TrimSuffix(name, folder.TmpSuffix) // the file has its own by now
					}
					fs.FailSync(name)
				}
				return failure
			}
			return nil
		}}
		l, err := OpenLog(options(fs, inject))
		if err == nil {
			s.log = l
			s.check(t)
			for i := 0; i < 60 && err == nil; i++ { // one that fails to make room in advance does no harm
				err = s.step()
			}
			after := calls
			if s.failed {
				s.failed = false
				require.Error(t, l.Save([]*Append{{HardState: hardState(99, 0, 1), Sync: true}}))
				require.Equal(t, after, calls, "C9: nothing is written after an error")
			}
			l.Close()
		}
		if err != nil {
			require.ErrorIs(t, err, failure)
		}
		var lost *LostError
		require.False(t, errors.As(err, &lost), "%v", err)
		fs = fs.Crash([]int{0, 50, 100}[rng.IntN(3)], rng)
	}
	l, err := OpenLog(options(fs, &vfstest.Inject{FS: fs}))
	require.NoError(t, err)
	s.log = l
	s.check(t)
	_, err = folder.Read(fs, "/log")
	require.NoError(t, err)
}
