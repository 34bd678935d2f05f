package cluster

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memLog is a Log in memory.
type memLog struct {
	*raft.MemoryStorage
	fail chan error
}

func (l *memLog) Save(appends []*Append) error {
	select {
	case err := <-l.fail:
		return err
	default:
	}
	for _, a := range appends {
		if a.HardState != nil {
			if err := l.SetHardState(a.HardState); err != nil {
				return err
			}
		}
		if err := l.Append(a.Entries); err != nil {
			return err
		}
	}
	return nil
}

func (l *memLog) Applied(uint64) {}

func (l *memLog) Pin(uint64) *Pin { panic("nobody needs a snapshot") }

func (l *memLog) Wants() bool { return false }

func (l *memLog) Fetch() error { return nil }

// words is a state machine that keeps all payloads.
type words struct {
	mu       sync.Mutex
	said     map[uint64]string // by index
	index    uint64
	received walked
	keep     func(Base, walked) // where a snapshot that was received is kept; nil: nowhere
}

// walked is a snapshot of words.
type walked struct {
	Said  map[uint64]string
	Whole uint64
}

func (w *words) Apply(e *Committed) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if string(e.Payload) == "poison" {
		return errors.New("no state machine takes that")
	}
	if e.Payload != nil {
		if w.said == nil {
			w.said = map[uint64]string{}
		}
		w.said[e.Index] = string(e.Payload)
	}
	w.index = e.Index
	return nil
}

func (w *words) Abandon(uint64) {}

func (w *words) Walk(_ Base, to io.Writer) error {
	w.mu.Lock()
	all := walked{maps.Clone(w.said), w.index}
	w.mu.Unlock()
	return json.NewEncoder(to).Encode(all)
}

func (w *words) Receive(b Base, r io.Reader) error {
	var all walked
	text, err := io.ReadAll(r)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.received = all; err == nil && w.keep != nil {
		w.keep(b, all)
	}
	return err
}

func (w *words) Install(b Base) (uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said, w.index = maps.Clone(w.received.Said), b.Index
	return w.received.Whole, nil
}

// all returns what was said, in order.
func (w *words) all() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range slices.Sorted(maps.Keys(w.said)) {
		all = append(all, w.said[i])
	}
	return all
}

type running struct {
	*Node
	log   *memLog
	words *words
}

func startThree(t *testing.T) map[uint64]*running {
	net := &lan{nodes: map[uint64]*Node{}}
	all := map[uint64]*running{}
	for id := uint64(1); id <= 3; id++ {
		r := &running{log: &memLog{raft.NewMemoryStorage(), make(chan error, 1)}, words: &words{}}
		require.NoError(t, r.log.ApplySnapshot(&pb.Snapshot{Metadata: &pb.SnapshotMetadata{
			Index: new(uint64(1)), Term: new(uint64(1)), ConfState: &pb.ConfState{Voters: []uint64{1, 2, 3}},
		}}))
		n, err := Start(NodeOptions{
			CoreOptions: CoreOptions{ID: id, Nonce: id, Base: Base{Index: 1, Term: 1}, Logger: slog.New(slog.DiscardHandler)},
			Log:         r.log, Machine: r.words, Transport: net,
		})
		require.NoError(t, err)
		r.Node = n
		all[id] = r
		net.mu.Lock()
		net.nodes[id] = n
		net.mu.Unlock()
		t.Cleanup(n.Stop)
	}
	return all
}

// leaderOf waits until a node leads.
func leaderOf(t *testing.T, all map[uint64]*running) (leader *running) {
	require.Eventually(t, func() bool {
		for _, r := range all {
			if r.Status().Leads {
				leader = r
				return true
			}
		}
		return false
	}, 20*time.Second, time.Millisecond)
	return leader
}

func write(n *Node, s string) (*Batch, error) {
	return n.Proposals().Append(func(p []byte) ([]byte, uint64) { return append(p, s...), 0 })
}

func TestNodesAgreeAndReadWhatIsWritten(t *testing.T) {
	all := startThree(t)
	leader := leaderOf(t, all)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 25 {
				b, err := write(leader.Node, "x")
				if err != nil {
					t.Error(err)
					return
				}
				<-b.Done()
				if b.Err() != nil {
					t.Error(b.Err())
				}
			}
		})
	}
	wg.Wait()
	for _, r := range all {
		round := r.Reads().Join()
		<-round.Done()
		require.NoError(t, round.Err())
		n := 0
		for _, s := range r.words.all() {
			n += len(s)
		}
		require.Equal(t, 100, n)
	}
}

func TestOthersGoOnWhenANodeStops(t *testing.T) {
	all := startThree(t)
	leader := leaderOf(t, all)
	leader.Stop()
	require.NoError(t, leader.Err())
	_, err := write(leader.Node, "x")
	require.Error(t, err)
	round := leader.Reads().Join()
	<-round.Done()
	require.ErrorIs(t, round.Err(), ErrStopped)

	delete(all, leader.Status().ID)
	next := leaderOf(t, all)
	b, err := write(next.Node, "x")
	require.NoError(t, err)
	<-b.Done()
	require.NoError(t, b.Err())
}

// C9
func TestANodeWhoseDiskFailsEnds(t *testing.T) {
	all := startThree(t)
	leader := leaderOf(t, all)
	broken := errors.New("input/output error")
	leader.log.fail <- broken
	b, err := write(leader.Node, "x")
	require.NoError(t, err)
	<-b.Done()
	require.ErrorIs(t, b.Err(), ErrUnknown)
	<-leader.Done()
	require.ErrorIs(t, leader.Err(), broken)
}

func TestANodeThatCannotApplyEnds(t *testing.T) {
	all := startThree(t)
	leader := leaderOf(t, all)
	b, err := write(leader.Node, "poison")
	require.NoError(t, err)
	<-b.Done()
	require.ErrorIs(t, b.Err(), ErrUnknown)
	ends := make(chan error, len(all))
	for _, r := range all {
		go func() { <-r.Done(); ends <- r.Err() }()
	}
	for range 2 { // the last one may not have been told that the entry is committed, and then nobody is left who could
		require.ErrorContains(t, <-ends, "no state machine takes that")
	}
}

func TestAnOrderlyTransferKeepsWritesWaiting(t *testing.T) {
	all := startThree(t)
	leader := leaderOf(t, all)
	moved := make(chan bool)
	leader.Call(func(c *Core) { moved <- c.Transfer(0) })
	require.True(t, <-moved)
	require.Eventually(t, func() bool { return !leader.Status().Leads }, 10*time.Second, time.Millisecond)
	require.NotSame(t, leader, leaderOf(t, all))
}
