package cluster

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

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
		{Entries: []*pb.Entry{entry(3, 3, strings.Repeat("B", 20000)), entry(4, 3, "")},
			HardState: hardState(3, 0, 2), Sync: true},
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

func TestLogBeginsAnewBehindASnapshot(t *testing.T) {
	fs := newFS(t)
	o := smallLog(fs, 1)
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	for i := uint64(2); i < 30; i++ {
		require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(i, 2, "x")}, HardState: hardState(2, 9, 2), Sync: true}}))
	}
	snap := &pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(uint64(70)), Term: new(uint64(4)),
		ConfState: &pb.ConfState{Voters: []uint64{1, 2}}}}
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
