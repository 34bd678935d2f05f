package cluster

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/wal/folder"
)

func TestStoresAreAlike(t *testing.T) {
	all := openStores(t, 3, store.Options{History: 2})
	leader := storeLeader(t, all)
	require.NoError(t, leader.set("a", "1", store.SetOptions{}))
	require.NoError(t, leader.set("a", "2", store.SetOptions{}))
	for _, s := range all {
		require.Equal(t, "2", s.get("a"))
		require.Equal(t, "absent", s.get("b"))
		if s != leader {
			var moved *store.MovedError
			require.ErrorAs(t, s.set("a", "3", store.SetOptions{}), &moved)
			require.Equal(t, fmt.Sprintf("client-%x", leader.node.Status().ID), moved.Leader)
			c := s.store.Session()
			require.NoError(t, c.Begin(store.ReadMode{Bound: time.Second}))
			c.Close()
		}
	}
	var conflict *store.ConflictError
	require.ErrorAs(t, leader.set("a", "3", store.SetOptions{Conditional: true}), &conflict)
}

// A snapshot that is being written when its node ends is given up, and nothing touches the folder any more once the
// journal is closed: another process may have the folder then.
func TestNoSnapshotIsWrittenOnceClosed(t *testing.T) {
	s := openStores(t, 1, store.Options{})[0]
	storeLeader(t, []*storeNode{s})
	require.NoError(t, s.set("a", "1", store.SetOptions{}))
	begun := make(chan struct{})
	var closed, touched atomic.Bool
	stop := s.node.stop
	s.before.Store(new(func(op string) error {
		if closed.Load() {
			touched.Store(true)
		}
		if op == "create" { // the snapshot's file: the log begins no other for so little
			close(begun)
			<-stop
		}
		return nil
	}))
	kept := make(chan error)
	go func() { kept <- s.journal.SaveSnapshot() }()
	<-begun
	require.NoError(t, s.end())
	closed.Store(true)
	require.ErrorIs(t, <-kept, ErrStopped)
	require.False(t, touched.Load())
	d, err := folder.Read(s.fs, "/log")
	require.NoError(t, err)
	require.Empty(t, d.Snapshots)
	require.Empty(t, d.Tmp)
}

// All that was answered is there after a restart of all, from the snapshot and the log behind it.
func TestStoresComeBackFromSnapshotsAndLogs(t *testing.T) {
	all := openStores(t, 3, store.Options{})
	leader := storeLeader(t, all)
	for i := range 40 {
		require.NoError(t, leader.set(fmt.Sprint("key", i%7), fmt.Sprint(i), store.SetOptions{}))
		if i == 25 {
			for _, s := range all[:2] {
				require.NoError(t, s.journal.SaveSnapshot())
			}
		}
	}
	for _, s := range all {
		s.stop()
	}
	for _, s := range all {
		s.openJournal()
		s.start(store.Options{})
	}
	require.NotZero(t, all[0].journal.at.base.Index+all[1].journal.at.base.Index)
	for _, s := range all {
		for i := 33; i < 40; i++ {
			require.Equal(t, fmt.Sprint(i), s.get(fmt.Sprint("key", i%7)))
		}
	}
	require.NoError(t, storeLeader(t, all).set("key0", "again", store.SetOptions{}))
	require.Equal(t, "again", all[2].get("key0"))
}

// A node that was away catches up from the log, though the others have written snapshots since, if no more was written
// meanwhile than they retain, or four times as much while the leader hears of it; if more was, it gets a snapshot, and
// their disks hold no more of the log than that.
func TestHowMuchOfTheLogIsRetained(t *testing.T) {
	const retain = 40_000
	all := openRetaining(t, 3, store.Options{}, retain)
	for round, x := range []struct {
		bytes     int
		forgotten bool // it has not been heard of lately
	}{{0, true}, {retain / 2, true}, {3 * retain, true}, {3 * retain, false}, {6 * retain, false}, {retain / 4, true}} {
		leader := storeLeader(t, all)
		away := all[0]
		if away == leader {
			away = all[1]
		}
		require.NoError(t, leader.set("a", fmt.Sprint("before", round), store.SetOptions{}))
		require.Equal(t, fmt.Sprint("before", round), away.get("a"))
		installed := away.journal.installed.Load()
		away.net.cutOff(away.id)
		var others []*storeNode
		for _, s := range all {
			if s != away {
				others = append(others, s)
			}
		}
		leader = storeLeader(t, others)
		for written := 0; written < x.bytes; written += 1000 {
			require.NoError(t, leader.set(fmt.Sprint("key", written/1000%20), strings.Repeat("x", 900), store.SetOptions{}))
			if written%5000 == 0 {
				for _, s := range others {
					require.NoError(t, s.journal.SaveSnapshot())
				}
			}
		}
		for _, s := range others {
			if x.forgotten {
				s.node.Call(func(c *Core) { clear(c.heard) })
			}
			require.NoError(t, leader.set("a", fmt.Sprint("after", round), store.SetOptions{}))
			require.Equal(t, fmt.Sprint("after", round), s.get("a"), "there is something new to write")
			require.NoError(t, s.journal.SaveSnapshot())
			size := int64(0)
			d, err := folder.Read(s.fs, "/log")
			require.NoError(t, err)
			for _, seq := range d.Logs {
				f, err := s.fs.Open("/log/" + folder.LogName(seq))
				require.NoError(t, err)
				n, err := f.Size()
				require.NoError(t, err)
				size += n
			}
			require.Less(t, size, int64(5*retain))
			if x.forgotten {
				require.Less(t, size, int64(2*retain))
			}
		}
		away.net.cutOff(0)
		require.Equal(t, fmt.Sprint("after", round), away.get("a"))
		if x.bytes < retain || !x.forgotten && x.bytes < 4*retain && leader == storeLeader(t, all) {
			require.Equal(t, installed, away.journal.installed.Load(), "it catches up from the log")
		} else if x.bytes > 4*retain || x.forgotten {
			require.Greater(t, away.journal.installed.Load(), installed, "it gets the snapshot")
		}
		alike(t, all)
	}
}

// What counts is what entries take in memory, which a start has them in: of small ones that is not their bytes.
func TestASnapshotIsWrittenBehindManySmallEntries(t *testing.T) {
	for memory, want := range map[int64]int64{0: 256 << 20, 1: 8 << 20, 64 << 20: 16 << 20, 1 << 40: 256 << 20} {
		require.Equal(t, want, (&Journal{o: JournalOptions{Memory: memory}}).snapshotAfter())
	}
	s := &storeNode{t: t, net: &lan{nodes: map[uint64]*Node{}}, fs: newFS(t), retainLog: 1}
	s.openJournal()
	self := s.journal.Log().Self()
	require.NoError(t, s.journal.Log().Belong(Self{Cluster: 9, Node: self.Node, Founders: Members{self.Node: {ID: self.Node}}}))
	s.journal.o.Memory, s.journal.applied = 1, snapshotLeast-100*entryMemory
	s.start(store.Options{})
	defer s.stop()
	storeLeader(t, []*storeNode{s})
	for i := range 101 {
		if i < 50 {
			require.LessOrEqual(t, s.journal.Log().Base().Index, uint64(1), i)
		}
		require.NoError(t, s.set("key", "x", store.SetOptions{}))
	}
	require.Eventually(t, func() bool { return s.journal.Log().Base().Index > 50 }, 10*time.Second, time.Millisecond)
}

// C5: a version that is published is not the write that got it, if another led since.
func TestAVersionIsNoAnswerAfterAnotherHasLed(t *testing.T) {
	all := openStores(t, 3, store.Options{})
	old := storeLeader(t, all)
	require.NoError(t, old.set("a", "before", store.SetOptions{}))
	stop := make(chan struct{})
	var cut sync.WaitGroup
	cut.Go(func() { old.net.isolate(old.node.Status().ID, time.Hour, stop) })
	require.Eventually(t, func() bool {
		old.net.mu.Lock()
		defer old.net.mu.Unlock()
		return old.net.cut != 0
	}, 10*time.Second, time.Millisecond)
	c := old.store.Session()
	defer c.Close()
	version, err := c.Set([]byte("a"), []byte("lost"), store.SetOptions{})
	require.NoError(t, err)
	waits := make(chan error)
	go func() { waits <- old.set("b", "lost", store.SetOptions{}) }()

	var others []*storeNode
	for _, s := range all {
		if s != old {
			others = append(others, s)
		}
	}
	next := storeLeader(t, others)
	require.NoError(t, next.set("c", "after", store.SetOptions{}))
	require.ErrorIs(t, <-waits, store.ErrUnknown)
	close(stop)
	cut.Wait()
	require.Equal(t, "after", old.get("c"))
	require.GreaterOrEqual(t, old.journal.Durable(), version)
	require.ErrorIs(t, c.Flush(), store.ErrUnknown)
	for _, s := range all {
		require.Equal(t, "before", s.get("a"))
		require.Equal(t, "absent", s.get("b"))
	}
}
