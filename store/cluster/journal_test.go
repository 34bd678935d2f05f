package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store"
	"kv/store/linear"
	"kv/store/vfs/vfstest"
	"kv/store/wal/folder"
)

// storeNode is a store that is one of several.
type storeNode struct {
	t         *testing.T
	net       *lan
	id        uint64
	retainLog int64
	fs        *vfstest.Mem
	before    atomic.Pointer[func(op string) error] // called before each call that changes the file system: see vfstest.Inject; nil: nothing is
	journal   *Journal
	store     *store.Store
	node      *Node
}

// openStores opens stores that are alike, on disks of their own.
func openStores(t *testing.T, n int, o store.Options) []*storeNode { return openRetaining(t, n, o, 1) }

// openRetaining is openStores of such that retain so many bytes of the log for others.
func openRetaining(t *testing.T, n int, o store.Options, retainLog int64) (all []*storeNode) {
	net := &lan{nodes: map[uint64]*Node{}}
	founders := Members{}
	for range n {
		s := &storeNode{t: t, net: net, fs: newFS(t), retainLog: retainLog}
		s.openJournal()
		self := s.journal.Log().Self()
		founders[self.Node] = Member{ID: self.Node, Client: fmt.Sprintf("client-%x", self.Node)}
		all = append(all, s)
	}
	for _, s := range all {
		require.NoError(t, s.journal.Log().Belong(Self{Cluster: 9, Node: s.journal.Log().Self().Node, Founders: founders}))
		s.start(o)
		t.Cleanup(func() { s.stop() })
	}
	return all
}

func (s *storeNode) openJournal() {
	disk := &vfstest.Inject{FS: s.fs, Before: func(_ int64, op, _ string) error {
		if f := s.before.Load(); f != nil {
			return (*f)(op)
		}
		return nil
	}}
	j, err := OpenJournal(JournalOptions{FS: disk, Dir: "/log", Logger: slog.New(slog.DiscardHandler), RetainLog: s.retainLog, Log: LogOptions{Ahead: -1, SegmentSize: 4000}})
	require.NoError(s.t, err)
	s.journal = j
}

func (s *storeNode) start(o store.Options) {
	o.Journal, o.Proposes = s.journal, true
	st, err := store.Open(o)
	require.NoError(s.t, err)
	s.store = st
	s.node, err = s.journal.Start(st, CoreOptions{
		ID: s.journal.Log().Self().Node, Nonce: rand.Uint64(), Logger: slog.New(slog.DiscardHandler),
	}, s.net)
	require.NoError(s.t, err)
	s.net.mu.Lock()
	s.id = s.node.Status().ID
	s.net.nodes[s.id] = s.node
	s.net.mu.Unlock()
}

func (s *storeNode) stop() {
	if s.node != nil {
		require.NoError(s.t, s.end())
	}
}

// crash is stop of one whose disk is gone.
func (s *storeNode) crash() { s.end() }

func (s *storeNode) end() error {
	s.net.mu.Lock()
	delete(s.net.nodes, s.id)
	s.net.mu.Unlock()
	n := s.node
	n.Stop()
	s.store.Close()
	s.node = nil
	return errors.Join(n.Err(), s.journal.Close())
}

// storeLeader waits until one leads.
func storeLeader(t *testing.T, all []*storeNode) (leader *storeNode) {
	require.Eventually(t, func() bool {
		for _, s := range all {
			if s.node != nil && s.node.Status().Leads {
				leader = s
				return true
			}
		}
		return false
	}, 30*time.Second, time.Millisecond)
	return leader
}

// get reads a key from a node, as it is now.
func (s *storeNode) get(key string) string {
	c := s.store.Session()
	defer c.Close()
	require.NoError(s.t, c.Begin(store.ReadMode{}))
	value, ok := c.AppendValue(nil, []byte(key))
	require.NoError(s.t, c.Flush())
	if !ok {
		return "absent"
	}
	return string(value)
}

func (s *storeNode) set(key, value string, o store.SetOptions) error {
	c := s.store.Session()
	defer c.Close()
	if _, err := c.Set([]byte(key), []byte(value), o); err != nil {
		return err
	}
	return c.Flush()
}

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

// lags cuts a node off, and writes so much that the others give up the log that it lacks.
func lags(t *testing.T, all []*storeNode, away *storeNode) {
	away.net.cutOff(away.id)
	var others []*storeNode
	for _, s := range all {
		if s != away {
			others = append(others, s)
		}
	}
	leader := storeLeader(t, others)
	for i := range 200 {
		require.NoError(t, leader.set(fmt.Sprint("key", i%50), fmt.Sprint(i), store.SetOptions{}))
	}
	for _, s := range others {
		require.NoError(t, s.journal.SaveSnapshot())
	}
	last, err := away.journal.Log().LastIndex()
	require.NoError(t, err)
	first, err := leader.journal.Log().FirstIndex()
	require.NoError(t, err)
	require.Greater(t, first, last, "the log has gone")
}

// alike waits until all have the same, with their history.
func alike(t *testing.T, all []*storeNode) {
	walk := func(s *storeNode) (out []string) {
		require.NoError(t, s.store.Walk(func(e *store.Entry) error {
			out = append(out, fmt.Sprintf("%s %d %x %d", e.Key(), e.Version(), e.Value(), e.Expiry()))
			return nil
		}))
		slices.Sort(out) // each store has a seed of its own
		return out
	}
	last := fmt.Sprint(rand.Uint64())
	require.NoError(t, storeLeader(t, all).set("alike", last, store.SetOptions{}))
	for _, s := range all {
		require.Equal(t, last, s.get("alike"))
	}
	want := walk(all[0])
	for _, s := range all[1:] {
		require.Equal(t, want, walk(s))
	}
	for _, s := range all {
		require.NoError(t, s.store.Check())
	}
}

// A store that lacks what the others have given up of the log receives their state, and goes on with it: its sessions
// stay, a scan that was under way ends with each key that was there all the while once, what is counted is, and no read
// is older than what had been answered.
func TestAStoreThatLacksTheLogTakesTheStateWhileItIsRead(t *testing.T) {
	all := openStores(t, 3, store.Options{History: 3})
	leader := storeLeader(t, all)
	away := all[0]
	if away == leader {
		away = all[1]
	}
	for i := range 50 {
		require.NoError(t, leader.set(fmt.Sprint("key", i), "old", store.SetOptions{}))
		require.NoError(t, leader.set(fmt.Sprint("stays", i), "old", store.SetOptions{TTL: uint64(1000 * (i % 2) * 3600)}))
	}
	require.Equal(t, "old", away.get("key49"))
	c := away.store.Session()
	defer c.Close()
	require.NoError(t, c.Begin(store.ReadMode{}))
	page, err := c.Scan(nil, store.ScanOptions{Limit: 10})
	require.NoError(t, err)
	require.NoError(t, c.Flush())
	scanned := map[string]int{}
	gets := away.store.Stats().GetOps
	backup, err := away.journal.Subscribe(1 << 20)
	require.NoError(t, err)
	defer backup.Close()

	lags(t, all, away)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	var answered, bounded atomic.Int64
	for n := range 4 {
		readers.Go(func() {
			c := away.store.Session()
			defer c.Close()
			for last := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				mode := store.ReadMode{}
				if n == 0 {
					mode.Bound = 20 * time.Millisecond
				}
				if c.Begin(mode) != nil {
					continue // nobody could be asked
				}
				value, _ := c.AppendValue(nil, []byte("key49"))
				if c.Flush() != nil {
					continue // it is void
				}
				is, err := strconv.Atoi(string(value))
				switch {
				case n == 0:
					bounded.Add(1)
				case err != nil || is < 199:
					panic(fmt.Sprintf("key49 was answered to be 199, and is read as %q", value))
				}
				if is < last {
					panic("what is read goes back in time")
				}
				last = is
				answered.Add(1)
			}
		})
	}
	away.net.cutOff(0)
	require.Eventually(t, func() bool { return away.journal.installed.Load() > 0 && answered.Load() > 1000 }, 60*time.Second, time.Millisecond)
	for {
		for _, e := range page.Entries {
			scanned[string(e.Key())]++
		}
		if page.Next == nil {
			break
		}
		require.Eventually(t, func() bool { return c.Begin(store.ReadMode{}) == nil }, 30*time.Second, time.Millisecond)
		page, err = c.Scan(page.Next, store.ScanOptions{Limit: 10})
		require.NoError(t, err)
		require.NoError(t, c.Flush())
	}
	close(stop)
	readers.Wait()
	_, _, err = away.journal.Last(backup)
	require.ErrorIs(t, err, errInstalled, "a backup that has begun before the other state came is of two")
	for i := range 50 {
		require.Equal(t, 1, scanned[fmt.Sprint("key", i)])
		require.Equal(t, 1, scanned[fmt.Sprint("stays", i)])
	}
	require.Len(t, scanned, 100)
	require.NotZero(t, bounded.Load())
	require.Greater(t, away.store.Stats().GetOps, gets+1000, "what was counted before counts")
	require.Equal(t, leader.store.Stats().Keys, away.store.Stats().Keys)
	require.Equal(t, leader.store.Stats().ValueBytes, away.store.Stats().ValueBytes)
	require.Equal(t, leader.store.Stats().History, away.store.Stats().History)
	alike(t, all)
	require.NoError(t, storeLeader(t, all).set("a", "newest", store.SetOptions{}))
	require.Equal(t, "newest", away.get("a"))

	away.stop() // what it took is on its disk
	away.openJournal()
	away.start(store.Options{History: 3})
	require.Equal(t, "newest", away.get("a"))
	alike(t, all)
}

// A power cut at any call of the file system, while a state is received and put in the place of what was there, leaves
// a node that starts again and becomes as the others are.
func TestAPowerCutWhileAStateIsTaken(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 8 {
		all := openStores(t, 3, store.Options{})
		leader := storeLeader(t, all)
		away := all[0]
		if away == leader {
			away = all[1]
		}
		require.NoError(t, leader.set("a", fmt.Sprint("before", round), store.SetOptions{}))
		require.Equal(t, fmt.Sprint("before", round), away.get("a"))
		lags(t, all, away)
		left := atomic.Int64{}
		left.Store(int64(1 + round*3))
		away.before.Store(new(func(string) error {
			if left.Add(-1) <= 0 {
				return errors.New("the power is gone")
			}
			return nil
		}))
		away.net.cutOff(0)
		require.Eventually(t, func() bool {
			select {
			case <-away.node.Done():
				return true
			default:
				return left.Load() <= 0 || away.journal.installed.Load() > 0 && away.node.Status().Whole && away.node.Status().Published >= leader.node.Status().Published
			}
		}, 60*time.Second, time.Millisecond)
		crashed := away.fs.Crash([]int{0, 50, 100}[round%3], rng)
		away.crash()
		away.fs = crashed
		away.before.Store(nil)
		away.openJournal()
		away.start(store.Options{})
		alike(t, all)
		for _, s := range all {
			s.stop()
		}
	}
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

// storeClient sends writes to whoever leads, and reads to any.
type storeClient struct {
	all      []*storeNode
	sessions []*store.Session
	rng      *rand.Rand
}

func (c *storeClient) Do(batch []linear.Request) []linear.Response {
	unknown := make([]linear.Response, len(batch))
	for i := range unknown {
		unknown[i].Unknown = true
	}
	writes := false
	for _, q := range batch {
		writes = writes || q.Kind != linear.Get && q.Kind != linear.MGet
	}
	for {
		at := c.rng.IntN(len(c.all))
		if writes && !c.all[at].node.Status().Leads {
			time.Sleep(time.Millisecond) // the pace of a client that looks for a leader
			continue
		}
		s := c.sessions[at]
		var all []linear.Response
		moved := false
		for _, q := range batch {
			if q.Kind == linear.Get || q.Kind == linear.MGet {
				if s.Begin(store.ReadMode{}) != nil {
					return unknown
				}
			}
			r, err := doRequest(s, q)
			if moved = errors.As(err, new(*store.MovedError)); moved {
				break
			}
			all = append(all, r)
		}
		switch err := s.Flush(); {
		case moved && len(all) == 0:
			continue // nothing was applied
		case moved || err != nil:
			return unknown
		}
		return all
	}
}

func doRequest(c *store.Session, q linear.Request) (r linear.Response, err error) {
	var keys [][]byte
	var conds []store.Condition
	for _, s := range q.Steps {
		keys = append(keys, linear.Key(s.Key))
	}
	for _, k := range q.Conditions {
		conds = append(conds, store.Condition{Key: linear.Key(k.Key), Version: k.Version})
	}
	result := func(e *store.Entry) linear.Result {
		if e == nil {
			return linear.Result{}
		}
		return linear.Result{Found: true, Value: string(e.Value()), Version: e.Version()}
	}
	r.Results = make([]linear.Result, len(q.Steps))
	switch q.Kind {
	case linear.Get:
		r.Results[0] = result(c.Get(keys[0]))
	case linear.MGet:
		for i, e := range c.MGet(nil, keys) {
			r.Results[i] = result(e)
		}
	case linear.Set:
		var o store.SetOptions
		if len(conds) > 0 {
			o = store.SetOptions{Conditional: true, IfVersion: conds[0].Version}
		}
		r.Version, err = c.Set(keys[0], []byte(q.Steps[0].Value), o)
	case linear.MSet:
		var pairs []store.Pair
		for i, s := range q.Steps {
			pairs = append(pairs, store.Pair{Key: keys[i], Value: []byte(s.Value)})
		}
		r.Version, err = c.MSet(pairs)
	case linear.Del:
		r.Existed, r.Version, err = c.Del(keys)
	case linear.Txn:
		kinds := map[linear.Kind]store.OpKind{linear.Get: store.OpGet, linear.Set: store.OpSet, linear.Del: store.OpDel}
		var ops []store.Op
		for i, s := range q.Steps {
			ops = append(ops, store.Op{Kind: kinds[s.Kind], Key: keys[i], Value: []byte(s.Value)})
		}
		var results []store.Result
		results, r.Version, err = c.Txn(nil, conds, ops)
		for i, x := range results {
			r.Results[i] = result(x.Entry)
			r.Results[i].Existed = x.Existed
		}
	}
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return linear.Response{Conflict: true, Index: conflict.Index, Version: conflict.Version}, nil
	}
	return r, err
}

// What clients are answered by three stores, while leadership is handed over and nodes are cut off, is explained by one order.
func TestStoresAreLinearizable(t *testing.T) {
	for seed := range uint64(2) {
		all := openStores(t, 3, store.Options{})
		storeLeader(t, all)
		stop := make(chan struct{})
		var nemesis sync.WaitGroup
		nemesis.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 3))
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(50+rng.IntN(100)) * time.Millisecond):
				}
				s := all[rng.IntN(len(all))]
				if i%8 == 7 {
					all[0].net.isolate(s.node.Status().ID, 1500*time.Millisecond, stop)
				} else if s.node.Status().Leads {
					s.node.Call(func(c *Core) { c.Transfer(0) })
				}
			}
		})
		clients := 0
		history := linear.Run(linear.Options{Clients: 4, Requests: 400, Batch: 2, Seed: seed}, func() linear.Client {
			clients++
			c := &storeClient{all: all, rng: rand.New(rand.NewPCG(seed, uint64(clients)))}
			for _, s := range all {
				session := s.store.Session()
				t.Cleanup(session.Close)
				c.sessions = append(c.sessions, session)
			}
			return c
		})
		close(stop)
		nemesis.Wait()
		require.NoError(t, linear.Check(history, 2*time.Minute))
		for _, s := range all {
			s.stop()
		}
	}
}

// isolate loses all messages of a node for a while.
func (l *lan) isolate(id uint64, d time.Duration, stop chan struct{}) {
	l.mu.Lock()
	l.cut = id
	l.mu.Unlock()
	select {
	case <-stop:
	case <-time.After(d):
	}
	l.mu.Lock()
	l.cut = 0
	l.mu.Unlock()
}

// cutOff loses all messages of a node from now on; 0: of none.
func (l *lan) cutOff(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = id
}

func (l *lan) lost(m *pb.Message) bool {
	return l.cut != 0 && (m.GetFrom() == l.cut || m.GetTo() == l.cut)
}
