package cluster

import (
	"errors"
	"log/slog"
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

func (l *memLog) Wants() bool { return false }

func (l *memLog) Fetch() (bool, error) { return false, nil }

// words is a state machine that keeps all payloads.
type words struct {
	mu   sync.Mutex
	said []string
}

func (w *words) Apply(e *Committed) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if string(e.Payload) == "poison" {
		return errors.New("no state machine takes that")
	}
	if e.Payload != nil {
		w.said = append(w.said, string(e.Payload))
	}
	return nil
}

func (w *words) Abandon() {}

func (w *words) Install(*pb.Snapshot) (uint64, error) { return 0, errors.New("none was sent") }

func (w *words) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.said...)
}

// lan hands messages over at once.
type lan struct {
	mu    sync.Mutex
	nodes map[uint64]*Node
}

func (l *lan) Send(messages []*pb.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range messages {
		if n := l.nodes[m.GetTo()]; n != nil {
			n.Receive(m)
		}
	}
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
	return n.Proposals().Append(func(p []byte) []byte { return append(p, s...) })
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
	for _, r := range all {
		<-r.Done()
		require.ErrorContains(t, r.Err(), "no state machine takes that")
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
