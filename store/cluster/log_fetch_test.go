package cluster

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store/vfs"
	"kv/store/vfs/vfstest"
)

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
			require.Equal(t, want[i], fmt.Sprintf("%d/%d %s",
				l.fetched[0].GetIndex(), l.fetched[0].GetTerm(), l.fetched[0].GetData()))
		}
		require.NoError(t, l.Close())
		l, err = OpenLog(o)
		require.NoError(t, err)
		l.Applied(uint64(len(want)) + 1)
		require.Equal(t, want, show(t, l))
		require.NoError(t, l.Close())
	}
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
