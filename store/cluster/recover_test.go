package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"kv/store"
	"kv/store/vfs/vfstest"
	"kv/store/wal/folder"
)

var quiet = slog.New(slog.DiscardHandler)

// survivors are the folders of three nodes that were stopped: each has a snapshot and a log behind it, with earlier
// versions, expiries, erasures and deletions; the leader's has most, and the last one's less than the others.
func survivors(t *testing.T) (all []*storeNode, want map[string][]string) {
	o := store.Options{History: 3}
	all = openStores(t, 3, o)
	leader := storeLeader(t, all)
	last := all[2]
	if last == leader {
		last = all[1]
	}
	for i := range 60 {
		switch {
		case i == 30:
			for _, s := range all {
				require.Equal(t, "29", s.get("key1")) // nobody lacks what the others give up
			}
			for _, s := range all {
				require.NoError(t, s.journal.SaveSnapshot())
			}
			c := leader.store.Session()
			_, _, err := c.Purge([][]byte{[]byte("key0")})
			require.NoError(t, err)
			_, _, err = c.Del([][]byte{[]byte("key3")})
			require.NoError(t, err)
			require.NoError(t, c.Flush())
			c.Close()
		case i == 50:
			require.Equal(t, "49", last.get("key1"))
			last.stop()
			require.NoError(t, leader.store.SetHistory(o.History, 0)) // in the log, as a cluster's nodes say it
		}
		require.NoError(t, leader.set(fmt.Sprint("key", i%4), fmt.Sprint(i), store.SetOptions{TTL: 1 << 40}))
		if i%20 == 0 { // an empty key is one like any other, though what concerns the whole store has one in the journal
			require.NoError(t, leader.set("", fmt.Sprint(i), store.SetOptions{}))
		}
	}
	want = leader.all()
	for _, s := range all {
		if s != last && s != leader {
			require.Equal(t, "59", s.get("key3"))
		}
	}
	for _, s := range all {
		s.stop()
	}
	// The leader first, the last one last.
	for i, s := range all {
		if s == leader {
			all[0], all[i] = all[i], all[0]
		}
	}
	for i, s := range all {
		if s == last {
			all[2], all[i] = all[i], all[2]
		}
	}
	return all, want
}

// all is what a store has: each key's versions with their values and the expiry of the current one, newest first.
func (s *storeNode) all() map[string][]string {
	c := s.store.Session()
	defer c.Close()
	require.NoError(s.t, c.Begin(store.ReadMode{}))
	all := map[string][]string{}
	for _, key := range []string{"key0", "key1", "key2", "key3", "key4", ""} {
		for _, r := range c.History(nil, []byte(key), 0) {
			all[key] = append(all[key], fmt.Sprint(r.Entry.Version(), " ", string(r.Entry.Value()),
				" ", r.Entry.Deleted(), " ", r.Entry.Expiry()))
		}
	}
	require.NoError(s.t, c.Flush())
	return all
}

// startAlone starts the node whose folder this is, which is alone in its cluster.
func startAlone(t *testing.T, fs *vfstest.Mem) *storeNode {
	s := &storeNode{t: t, net: &lan{nodes: map[uint64]*Node{}}, fs: fs}
	s.openJournal()
	s.start(store.Options{History: 3})
	t.Cleanup(s.stop)
	storeLeader(t, []*storeNode{s})
	return s
}

// What the survivor has is there, versions and all, as one member of a new cluster, that takes writes; the others know
// nothing of it.
func TestRecover(t *testing.T) {
	all, want := survivors(t)
	var standings []*Standing
	for _, s := range all {
		x, err := Look(s.fs, "/log")
		require.NoError(t, err)
		require.EqualValues(t, 9, x.Cluster)
		require.Len(t, x.Members, 3)
		require.True(t, x.IsWhole())
		standings = append(standings, x)
	}
	require.Positive(t, standings[0].Compare(standings[2]))
	require.Negative(t, standings[2].Compare(standings[1]))

	was, is, err := Recover(all[0].fs, "/log", time.Unix(0, 0))
	require.NoError(t, err)
	require.Equal(t, standings[0].LastIndex, was.LastIndex)
	require.NotEqual(t, was.Cluster, is.Cluster)
	require.NotEqual(t, was.Node, is.Node)
	require.Equal(t, was.Version, is.Version)
	require.Len(t, is.Members, 1)
	require.Equal(t, fmt.Sprintf("client-%x", was.Node), is.Members[0].Client, "it is where it was")
	notes := string(all[0].fs.Snapshot()["/log/"+Notes])
	require.Contains(t, notes, fmt.Sprintf("1970-01-01T00:00:00Z: node %d of cluster 9, which had all up to entry %d",
		was.Node, was.LastIndex))

	s := startAlone(t, all[0].fs)
	require.Equal(t, want, s.all())
	require.Equal(t, is.Cluster, s.journal.Log().Self().Cluster)
	require.NoError(t, s.set("key9", "new", store.SetOptions{}))
	before := s.journal.Counts().SnapshotBytes
	require.NoError(t, s.journal.SaveSnapshot())
	kept := s.journal.Counts().SnapshotBytes
	require.NotEqual(t, before, kept)
	checkSnapshotFigures(t, s)
	require.NoError(t, s.set("key9", "newer", store.SetOptions{}))
	s.stop()
	s = startAlone(t, all[0].fs)
	require.Equal(t, kept, s.journal.Counts().SnapshotBytes)
	checkSnapshotFigures(t, s)
	require.Equal(t, "newer", s.get("key9"))
	require.Equal(t, want, s.all())
	s.stop()

	// Again, from what that one has by now.
	was, is, err = Recover(all[0].fs, "/log", time.Unix(1, 0))
	require.NoError(t, err)
	require.NotEqual(t, was.Cluster, is.Cluster)
	require.Equal(t, 2, strings.Count(string(all[0].fs.Snapshot()["/log/"+Notes]), "\n"))
	s = startAlone(t, all[0].fs)
	require.Equal(t, "newer", s.get("key9"))
	require.Equal(t, want, s.all())
}

// What nobody knows to be committed is kept, and changes of the members that are in the log mean nothing to the new cluster.
func TestRecoverKeepsWhatIsNotKnownToBeCommitted(t *testing.T) {
	all, _ := survivors(t)
	fs := all[1].fs
	j, err := OpenJournal(JournalOptions{FS: fs, Dir: "/log", Logger: quiet})
	require.NoError(t, err)
	state, _, err := j.Log().InitialState()
	require.NoError(t, err)
	last, err := j.Log().LastIndex()
	require.NoError(t, err)
	term := state.GetTerm() + 1
	data := appendRecord(make([]byte, batchHeader), 1<<62,
		[]*store.Entry{store.NewEntry(1<<62, []byte("key4"), []byte("unknown"), 0, false)})
	putBatchHeader(data, 0, batchID{1, 2, 3, 4})
	change, err := proto.Marshal(&pb.ConfChangeV2{Context: at(5).append(nil), Changes: []*pb.ConfChangeSingle{
		{Type: pb.ConfChangeAddLearnerNode.Enum(), NodeId: new(uint64(5))},
	}})
	require.NoError(t, err)
	require.NoError(t, j.Log().Save([]*Append{{
		Entries: []*pb.Entry{
			{Index: new(last + 1), Term: new(term), Data: data},
			{Index: new(last + 2), Term: new(term), Type: pb.EntryConfChangeV2.Enum(), Data: change},
		},
		HardState: &pb.HardState{Term: new(term), Vote: new(uint64(0)), Commit: state.Commit}, Sync: true,
	}}))
	require.NoError(t, j.Close())

	was, _, err := Recover(fs, "/log", time.Now())
	require.NoError(t, err)
	require.Equal(t, []uint64{last + 2, term}, []uint64{was.LastIndex, was.LastTerm})
	require.Less(t, was.Committed, was.LastIndex)
	s := startAlone(t, fs)
	require.Equal(t, "unknown", s.get("key4"))
	members := make(chan Members, 1)
	s.node.Call(func(c *Core) { members <- c.Members() })
	require.Len(t, <-members, 1)
}

// After a crash, or a call that failed, at any place the folder is the old cluster's or the new one's, all data there;
// never a node of the old cluster that takes itself for all of it.
func TestRecoverCrashes(t *testing.T) {
	all, want := survivors(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for call := int64(1); ; call++ {
		done := false
		for _, percent := range []int{0, 50, 100} { // of what was not synced, that is there
			fs := all[0].fs.Crash(100, nil)
			inject := &vfstest.Inject{FS: fs, Before: func(n int64, _, _ string) error {
				if n >= call {
					return syscall.EIO
				}
				return nil
			}}
			_, _, err := Recover(inject, "/log", time.Now())
			if err != nil {
				require.True(t, errors.Is(err, syscall.EIO), err)
			}
			done = err == nil
			fs = fs.Crash(percent, rng)
			standing, err := Look(fs, "/log")
			require.NoError(t, err)
			require.Equal(t, standing.Cluster == 9, len(standing.Members) == 3, "call %d", call)
			require.False(t, done && standing.Cluster == 9)
			j, err := OpenJournal(JournalOptions{FS: fs, Dir: "/log", Logger: quiet})
			require.NoError(t, err)
			require.Equal(t, standing.Cluster, j.Log().Self().Cluster)
			require.Equal(t, standing.Node, j.Log().Self().Node)
			require.NoError(t, j.Close())
			if standing.Cluster == 9 {
				_, _, err := Recover(fs, "/log", time.Now())
				require.NoError(t, err)
			}
			if percent == 50 {
				s := startAlone(t, fs)
				require.Equal(t, want, s.all())
				s.stop()
			}
		}
		if done {
			return
		}
	}
}

func TestRecoverRefuses(t *testing.T) {
	fs := newFS(t)
	_, _, err := Recover(fs, "/log", time.Now())
	require.ErrorContains(t, err, "data folder /log is empty")
	j, err := OpenJournal(JournalOptions{FS: fs, Dir: "/log", Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, j.Close())
	_, _, err = Recover(fs, "/log", time.Now())
	require.ErrorContains(t, err, "belongs to no cluster yet")
	require.NotContains(t, fs.Snapshot(), "/log/"+Notes)

	// A copy that was still being brought up to date.
	fs = newFS(t)
	base := Base{Index: 8, Term: 3, Conf: &pb.ConfState{Voters: []uint64{1, 2}}, Members: Members{1: at(1), 2: at(2)}}
	log, err := NewLog(LogOptions{FS: fs, Dir: "/log", Base: base, Logger: quiet}, Self{Cluster: 77, Node: 2})
	require.NoError(t, err)
	require.NoError(t, log.Close())
	fs.WriteFile("/log/snapshot-0000000000000008", snapshotBytes(t, base))
	before := fs.Snapshot()
	was, _, err := Recover(fs, "/log", time.Now())
	require.ErrorAs(t, err, new(*NotWholeError))
	require.ErrorContains(t, err, "as new as entry 11, and the log ends with entry 8")
	require.Len(t, was.Members, 2)
	delete(before, "/log/LOCK")
	after := fs.Snapshot()
	delete(after, "/log/LOCK")
	require.Equal(t, before, after)
}

// checkSnapshotFigures checks that the figures of a node's snapshot are those of the file.
func checkSnapshotFigures(t *testing.T, s *storeNode) {
	d, err := folder.Read(s.fs, "/log")
	require.NoError(t, err)
	require.Len(t, d.Snapshots, 1)
	f, err := s.fs.Open("/log/" + folder.SnapshotName(d.Snapshots[0]))
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	require.NoError(t, f.Close())
	c := s.journal.Counts()
	require.Equal(t, size, c.SnapshotBytes)
	require.GreaterOrEqual(t, c.SnapshotAge, time.Duration(0))
}

// A folder that is damaged, at whichever place, is not recovered: the error names the file, and nothing is changed.
// What is not looked at, such as a file of the log that the snapshot makes superfluous, may be as it likes: all is
// there.
func TestRecoverRefusesADamagedFolder(t *testing.T) {
	all, want := survivors(t)
	whole := all[0].fs.Snapshot()
	standing, err := Look(all[0].fs, "/log")
	require.NoError(t, err)
	files := slices.Sorted(maps.Keys(whole))
	d, err := folder.Read(all[0].fs, "/log")
	require.NoError(t, err)
	newest := d.Logs[len(d.Logs)-1]
	refused := map[string]int{}
	try := func(name string, at int, change func(fs *vfstest.Mem)) {
		fs := all[0].fs.Crash(100, nil)
		change(fs)
		before := fs.Snapshot()
		_, is, err := Recover(fs, "/log", time.Unix(0, 0))
		if err == nil { // all is there
			require.Equal(t, standing.Version, is.Version, "at %d", at)
			s := startAlone(t, fs)
			require.Equal(t, want, s.all())
			s.stop()
			return
		}
		refused[name]++
		require.ErrorAs(t, err, new(*LostError), "%s at %d", name, at)
		if at >= 0 {
			require.ErrorContains(t, err, name+" is damaged")
		}
		after := fs.Snapshot()
		delete(before, "/log/LOCK")
		delete(after, "/log/LOCK")
		require.Equal(t, before, after, "%s at %d", name, at)
	}
	for _, name := range files {
		if name == "/log/LOCK" {
			continue
		}
		size := len(whole[name])
		for at := 0; at < size; at += max(1, size/40) {
			try(name, at, func(fs *vfstest.Mem) {
				data := slices.Clone(whole[name])
				data[at] ^= 0x10
				fs.WriteFile(name, data)
			})
		}
		require.NotZero(t, refused[name], name)
		if name != "/log/"+folder.LogName(newest) { // nothing says that there was another one behind the last
			try(name, -1, func(fs *vfstest.Mem) { require.NoError(t, fs.Remove(name)) })
		}
	}
}
