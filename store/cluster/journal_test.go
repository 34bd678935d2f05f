package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"

	"kv/store"
	"kv/store/linear"
	"kv/store/vfs/vfstest"
)

// storeNode is a store that is one of several.
type storeNode struct {
	t       *testing.T
	net     *lan
	fs      *vfstest.Mem
	journal *Journal
	store   *store.Store
	node    *Node
}

// openStores opens stores that are alike, on disks of their own.
func openStores(t *testing.T, n int, o store.Options) (all []*storeNode) {
	net := &lan{nodes: map[uint64]*Node{}}
	founders := Members{}
	for range n {
		s := &storeNode{t: t, net: net, fs: newFS(t)}
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
	j, err := OpenJournal(JournalOptions{FS: s.fs, Dir: "/log", Logger: slog.New(slog.DiscardHandler), Log: LogOptions{Ahead: -1, SegmentSize: 4000}})
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
	s.net.nodes[s.node.Status().ID] = s.node
	s.net.mu.Unlock()
}

func (s *storeNode) stop() {
	if s.node == nil {
		return
	}
	s.net.mu.Lock()
	delete(s.net.nodes, s.node.Status().ID)
	s.net.mu.Unlock()
	s.node.Stop()
	s.store.Close()
	require.NoError(s.t, s.journal.Close())
	s.node = nil
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

// All that was answered is there after a restart of all, from the state that was kept and the log behind it.
func TestStoresComeBackFromWhatTheyKept(t *testing.T) {
	all := openStores(t, 3, store.Options{})
	leader := storeLeader(t, all)
	for i := range 40 {
		require.NoError(t, leader.set(fmt.Sprint("key", i%7), fmt.Sprint(i), store.SetOptions{}))
		if i == 25 {
			for _, s := range all[:2] {
				require.NoError(t, s.journal.Keep())
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

// A store that was away for so long that the others have given up the log it lacks receives their state, and begins anew with it.
func TestAStoreThatLacksTheLogReceivesTheState(t *testing.T) {
	all := openStores(t, 3, store.Options{History: 1})
	leader := storeLeader(t, all)
	away := all[0]
	if away == leader {
		away = all[1]
	}
	require.NoError(t, leader.set("a", "old", store.SetOptions{}))
	require.Equal(t, "old", away.get("a"))
	away.stop()
	for i := range 200 {
		require.NoError(t, leader.set(fmt.Sprint("key", i%50), fmt.Sprint(i), store.SetOptions{}))
	}
	require.NoError(t, leader.set("a", "new", store.SetOptions{}))
	for _, s := range all {
		if s.node != nil {
			require.NoError(t, s.journal.Keep())
		}
	}
	first, err := leader.journal.Log().FirstIndex()
	require.NoError(t, err)
	require.Greater(t, first, uint64(50), "the log has gone")
	away.openJournal()
	away.start(store.Options{History: 1})
	<-away.node.Done()
	require.ErrorIs(t, away.node.Err(), ErrReload)
	away.stop()
	away.openJournal()
	away.start(store.Options{History: 1})
	require.Equal(t, "new", away.get("a"))
	for i := 150; i < 200; i++ {
		require.Equal(t, fmt.Sprint(i), away.get(fmt.Sprint("key", i%50)))
	}
	require.NoError(t, storeLeader(t, all).set("a", "newest", store.SetOptions{}))
	require.Equal(t, "newest", away.get("a"))
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

func (l *lan) lost(m *pb.Message) bool {
	return l.cut != 0 && (m.GetFrom() == l.cut || m.GetTo() == l.cut)
}
