package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/vfs/vfstest"
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

// openRetaining is openStores of stores that retain so many bytes of the log for others.
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
	j, err := OpenJournal(JournalOptions{FS: disk, Dir: "/log", Logger: slog.New(slog.DiscardHandler),
		RetainLog: s.retainLog, Log: LogOptions{Ahead: -1, SegmentSize: 4000}})
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
