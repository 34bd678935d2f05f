package cluster

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// replica is a Core whose disk, state machine and network are the test's.
type replica struct {
	*Core
	g       *group
	disk    *raft.MemoryStorage
	appends []*Append
	applies []*Apply

	saved               []*Append // what the disk has done
	holdDisk, holdApply bool      // nothing is done for now
	fetching            int       // how often a snapshot that is asked for can't be had for now
	applied             []string
	abandoned           int
}

// group is several replicas, in one goroutine.
type group struct {
	t     *testing.T
	now   time.Duration
	nodes []*replica
	sent  []*pb.Message            // on their way
	drop  func(m *pb.Message) bool // nil: none is lost
}

func newGroup(t *testing.T, n int) *group {
	g := &group{t: t, now: time.Hour}
	members := Members{}
	for id := range uint64(n) {
		members[id+1] = at(id + 1)
	}
	for range n {
		g.add(members)
	}
	return g
}

// at is a member, somewhere.
func at(id uint64) Member {
	return Member{ID: id, Client: fmt.Sprintf("kv-%d:7400", id), Peer: fmt.Sprintf("kv-%d:7401", id)}
}

// add adds a node that knows these founders.
func (g *group) add(members Members) *replica {
	id, disk := uint64(len(g.nodes)+1), raft.NewMemoryStorage()
	require.NoError(g.t, disk.ApplySnapshot(&pb.Snapshot{Metadata: &pb.SnapshotMetadata{
		Index: new(uint64(1)), Term: new(uint64(1)), ConfState: &pb.ConfState{Voters: slices.Sorted(maps.Keys(members))},
	}}))
	r := &replica{g: g, disk: disk}
	r.start(id, Base{Index: 1, Term: 1, Members: members})
	g.nodes = append(g.nodes, r)
	return r
}

// start begins a process, with what is on the disk.
func (r *replica) start(id uint64, base Base) {
	core, err := NewCore(CoreOptions{
		ID: id, Nonce: 100 + id, Log: busyDisk{r.disk, r}, Base: base,
		Clock: func() time.Duration { return r.g.now }, Wake: func() {}, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(r.g.t, err)
	r.Core, r.appends, r.applies = core, nil, nil
}

// busyDisk may be fetching.
type busyDisk struct {
	*raft.MemoryStorage
	r *replica
}

func (d busyDisk) Snapshot() (*pb.Snapshot, error) {
	if d.r.fetching > 0 {
		d.r.fetching--
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return d.MemoryStorage.Snapshot()
}

// run does all that can be done without time passing.
func (g *group) run() {
	for busy := true; busy; {
		busy = false
		for _, r := range g.nodes {
			busy = r.step() || busy
		}
		sent := g.sent
		g.sent = nil
		for _, m := range sent {
			if g.drop == nil || !g.drop(m) {
				g.nodes[m.GetTo()-1].Step(m)
				if m.GetType() == pb.MsgSnap {
					g.nodes[m.GetFrom()-1].SnapshotSent(m.GetTo(), true)
				}
			}
			busy = true
		}
	}
}

func (r *replica) step() (busy bool) {
	for w := r.Work(); !w.Empty(); w = r.Work() {
		busy = true
		r.g.sent = append(r.g.sent, w.Send...)
		if w.Append != nil {
			r.appends = append(r.appends, w.Append)
		}
		if w.Apply != nil {
			r.applies = append(r.applies, w.Apply)
		}
	}
	for len(r.appends) > 0 && !r.holdDisk {
		a := r.appends[0]
		r.appends, busy = r.appends[1:], true
		if a.Snapshot != nil {
			require.NoError(r.g.t, r.disk.ApplySnapshot(a.Snapshot))
		}
		require.NoError(r.g.t, r.disk.Append(a.Entries))
		if a.HardState != nil {
			require.NoError(r.g.t, r.disk.SetHardState(a.HardState))
		}
		r.saved = append(r.saved, a)
		r.Appended(a)
	}
	for len(r.applies) > 0 && !r.holdApply {
		a := r.applies[0]
		r.applies, busy = r.applies[1:], true
		if a.Abandon != 0 {
			r.abandoned++
		}
		if a.Install != nil {
			r.Swap(a)
			a.Whole = a.Install.GetMetadata().GetIndex()
		}
		for i := range a.Entries {
			if e := &a.Entries[i]; e.Payload != nil {
				r.applied = append(r.applied, string(e.Payload))
				if e.Batch != nil {
					require.Equal(r.g.t, e.Payload, e.Batch.data[batchHeader:], "C4")
				}
			}
			a.Entries[i].Published()
		}
		r.Applied(a)
	}
	return busy
}

// pass lets time pass, and everything happen that does meanwhile.
func (g *group) pass(d time.Duration) {
	for end := g.now + d; g.now < end; {
		g.now += TickEvery
		for _, r := range g.nodes {
			r.Tick()
		}
		g.run()
	}
}

// elect has a node lead.
func (g *group) elect(id int) *replica {
	r := g.nodes[id-1]
	if leader := g.leader(); leader != nil {
		leader.Transfer(r.id)
	} else {
		require.NoError(g.t, r.Campaign())
	}
	g.run()
	require.True(g.t, r.Leads())
	return r
}

// leader returns who leads and takes writes, nil: nobody.
func (g *group) leader() *replica {
	for _, r := range g.nodes {
		if r.Leads() {
			return r
		}
	}
	return nil
}

// cut loses all messages from and to a node.
func cut(id uint64) func(*pb.Message) bool {
	return func(m *pb.Message) bool { return m.GetFrom() == id || m.GetTo() == id }
}

func (r *replica) write(s string) *Batch {
	b, err := r.Proposals.Append(func(p []byte) ([]byte, uint64) { return append(p, s...), 0 })
	require.NoError(r.g.t, err)
	return b
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
