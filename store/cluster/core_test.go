package cluster

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"weak"

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

func TestAWriteIsOnAllReplicas(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	b := leader.write("a")
	require.False(t, closed(b.Done()))
	g.run()
	require.True(t, closed(b.Done()))
	require.NoError(t, b.Err())
	for _, r := range g.nodes {
		require.Equal(t, []string{"a"}, r.applied)
	}
	_, err := g.nodes[1].Proposals.Append(nil)
	var not *NotLeaderError
	require.ErrorAs(t, err, &not)
	require.EqualValues(t, 1, not.Leader)
}

// C8: what a node has not on disk, it says nothing of.
func TestNothingIsAcknowledgedBeforeTheSync(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	for _, r := range g.nodes[1:] {
		r.holdDisk = true
	}
	b := leader.write("a")
	g.run()
	require.False(t, closed(b.Done()), "the leader's disk alone is no majority")
	g.nodes[1].holdDisk = false
	g.run()
	require.True(t, closed(b.Done()))

	g = newGroup(t, 3)
	for _, r := range g.nodes[1:] {
		r.holdDisk = true
	}
	require.NoError(t, g.nodes[0].Campaign())
	g.run()
	require.False(t, g.nodes[0].Leads(), "votes that are not on disk do not count")
}

// C3: a leader takes writes once it has published its own term's first entry, and with it all from before.
func TestAppendOpensOnceTheTermsFirstEntryIsPublished(t *testing.T) {
	g := newGroup(t, 3)
	first := g.elect(1)
	first.write("a")
	g.nodes[1].holdApply = true
	g.run()

	require.True(t, first.Transfer(2))
	g.run()
	second := g.nodes[1]
	require.NotZero(t, second.leadTerm)
	require.Empty(t, second.applied)
	_, err := second.Proposals.Append(nil)
	require.Error(t, err)

	second.holdApply = false
	g.run()
	require.Equal(t, []string{"a"}, second.applied)
	second.write("b")
	g.run()
	require.Equal(t, []string{"a", "b"}, g.nodes[2].applied)
}

// C5: what a leader has under way when it leads no more is unknown, though it commits afterwards.
func TestLostLeadershipLeavesWritesUnknown(t *testing.T) {
	g := newGroup(t, 3)
	old := g.elect(1)
	epoch := old.Proposals.Epoch()
	old.holdApply = true
	g.drop = func(m *pb.Message) bool { return m.GetType() == pb.MsgAppResp && m.GetTo() == 1 }
	under := old.write("under way")
	require.Equal(t, epoch, under.Epoch())
	g.run()
	open := old.write("in the open batch")
	g.drop = cut(1)
	g.pass(3 * time.Second)
	for _, b := range []*Batch{under, open} {
		require.True(t, closed(b.Done()))
		require.ErrorIs(t, b.Err(), ErrUnknown)
	}
	require.NotEqual(t, epoch, old.Proposals.Epoch())
	_, err := old.Proposals.Append(nil)
	require.Error(t, err)
	g.drop = nil
	old.holdApply = false
	g.pass(time.Second)
	require.Equal(t, 1, old.abandoned)
	for _, r := range g.nodes {
		require.Equal(t, []string{"under way"}, r.applied)
	}

	g.elect(1)
	require.Equal(t, epoch+2, old.Proposals.Epoch(), "epochs do not overlap")
}

func TestBatchesGrowWhileOneIsInFlight(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	leader.write("a")
	leader.step() // proposes it
	leader.write("b")
	leader.write("c")
	g.run()
	require.Equal(t, []string{"a", "bc"}, leader.applied)

	big := strings.Repeat("x", maxBatch)
	leader.write("d")
	leader.step()
	small := leader.write("e")
	require.True(t, small != leader.write(big), "it goes to the next batch, whole")
	require.True(t, small != leader.write("ff"))
	g.run()
	require.True(t, slices.Equal([]string{"d", "e", big, "ff"}, leader.applied[2:]))

	huge := strings.Repeat("y", 3*maxBatch)
	leader.write(huge)
	g.run()
	require.True(t, huge == leader.applied[6])
}

// Who waits for what he has written wakes with his own batch.
func TestARecordIsFoundInItsBatch(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	p := leader.Proposals
	write := func(mark uint64, size int) *Batch {
		b, err := p.Append(func(payload []byte) ([]byte, uint64) { return append(payload, make([]byte, size)...), mark })
		require.NoError(t, err)
		return b
	}
	leader.holdApply = true
	first := write(5, 1)
	g.run()
	second := write(6, 1)
	require.Same(t, second, write(7, 1))
	third := write(9, maxBatch) // it does not fit
	require.NotSame(t, second, third)
	for mark, want := range map[uint64]*Batch{4: first, 5: first, 6: second, 7: second, 8: third, 9: third} {
		require.Same(t, want, p.Marked(mark), mark)
	}
	require.Nil(t, p.Marked(10), "nobody has written that")
	leader.holdApply = false
	g.run()
	require.Nil(t, p.Marked(5), "what is published is waited for by nobody")

	last := write(12, 1)
	g.elect(2)
	require.True(t, closed(last.Done()))
	require.Nil(t, p.Marked(12))
}

// What is appended and not waited for, as the time by which keys expire, is not kept once it is published.
func TestPublishedBatchesAreForgotten(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	for i := range 100 {
		leader.write(fmt.Sprint(i))
		g.run()
		require.LessOrEqual(t, len(leader.Proposals.live), 1)
	}

	// Nor are many that were under way at a time.
	leader.holdApply = true
	var all []weak.Pointer[Batch]
	for range 10 {
		all = append(all, weak.Make(leader.write(strings.Repeat("x", maxBatch))))
	}
	leader.holdApply = false
	g.run()
	last := leader.write("y")
	runtime.GC()
	held := 0
	for _, w := range all {
		if w.Value() != nil {
			held++
		}
	}
	require.Less(t, held, 4, "the test itself has some")
	require.Len(t, leader.Proposals.live, 1)
	runtime.KeepAlive(last)
}

func TestASecondBatchFollowsTheFirstWhenThatIsLate(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	g.drop = func(m *pb.Message) bool { return m.GetTo() == 1 }
	leader.write("a")
	g.run()
	leader.write("b")
	g.run()
	require.Len(t, leader.Proposals.inFlight, 1)
	require.Equal(t, g.now+windowAge, leader.Due())
	g.now += windowAge
	g.run()
	require.Len(t, leader.Proposals.inFlight, 2)
	for range 10 {
		leader.write("c")
		g.run()
	}
	require.Len(t, leader.Proposals.inFlight, 2, "each of them waits as long")
	g.now += windowAge
	g.run()
	require.Len(t, leader.Proposals.inFlight, 3)
	g.drop = nil
	g.pass(time.Second)
	require.Equal(t, []string{"a", "b", strings.Repeat("c", 10)}, leader.applied[len(leader.applied)-3:])
}

// That an entry is committed is on no disk before it is told.
func TestASyncIsForEntriesTermsAndVotes(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	follower := g.nodes[1]
	follower.holdDisk = true
	leader.write("a")
	g.run()
	require.Len(t, follower.appends, 2, "the entry, and that it is committed")
	entry, commit := follower.appends[0], follower.appends[1]
	require.Len(t, entry.Entries, 1)
	require.True(t, entry.Sync)
	require.Empty(t, commit.Entries)
	require.NotNil(t, commit.HardState)
	require.False(t, commit.Sync)
	require.NotEmpty(t, commit.responses, "it is answered behind the other")
}

// C6
// A change of the members is not forgotten by who has carried it out: that it is committed is synced, too.
func TestASyncIsForCommittedChangesOfTheMembers(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	g.add(leader.Members())
	synced := func(r *replica, index uint64) (knows, durably bool) {
		for _, a := range r.saved {
			knows = knows || a.HardState.GetCommit() >= index
			durably = durably || knows && a.Sync
		}
		return knows, durably
	}
	leader.write("a")
	g.run()
	for _, r := range g.nodes[:3] {
		knows, durably := synced(r, leader.Published())
		require.True(t, knows)
		require.False(t, durably, "a write that is committed is not synced for that")
	}
	require.NoError(t, leader.AddLearner(at(4)))
	g.run()
	for _, r := range g.nodes {
		knows, durably := synced(r, leader.Published())
		require.True(t, knows)
		require.True(t, durably)
	}
}

func TestReadsWaitForARoundThatBeganAfterThem(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	for _, r := range g.nodes {
		held := []*pb.Message{}
		g.drop = func(m *pb.Message) bool {
			if m.GetType() == pb.MsgHeartbeatResp && len(m.GetContext()) > 0 {
				held = append(held, m)
				return true
			}
			return false
		}
		early := r.Reads.Join()
		require.Same(t, early, r.Reads.Join(), "one round serves all who wait")
		g.run()
		late := r.Reads.Join()
		require.NotSame(t, early, late, "a round that has begun is too old for who comes now")
		g.run()
		require.False(t, closed(early.Done()))
		g.drop = nil
		g.sent = held
		g.run()
		require.True(t, closed(early.Done()) && closed(late.Done()))
		require.NoError(t, early.Err())
		require.Equal(t, leader.Published(), late.index)
	}
}

// A leader asks as many as make a majority with it whether it still leads, once for all who have asked it while it last did so.
func TestALeaderAsksOnceForAllQuestions(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	var asked []uint64
	hold, held := true, []*pb.Message(nil)
	g.drop = func(m *pb.Message) bool {
		switch {
		case len(m.GetContext()) == 0:
		case m.GetType() == pb.MsgHeartbeat:
			asked = append(asked, m.GetTo())
		case m.GetType() == pb.MsgHeartbeatResp && hold:
			held = append(held, m)
			return true
		}
		return false
	}
	first := leader.Reads.Join()
	g.run()
	require.Len(t, asked, 1)
	rounds := []*Round{leader.Reads.Join(), g.nodes[1].Reads.Join(), g.nodes[2].Reads.Join()}
	g.run()
	require.Len(t, asked, 1, "one is under way")
	hold = false
	leader.Step(held[0])
	g.run()
	require.True(t, closed(first.Done()))
	for _, r := range rounds {
		require.True(t, closed(r.Done()))
		require.NoError(t, r.Err())
	}
	require.Len(t, asked, 2, "the second is for all three")

	// One that does not answer is asked no more than until the next tick.
	dead := asked[1]
	g.drop = cut(dead)
	r := leader.Reads.Join()
	g.run()
	require.False(t, closed(r.Done()))
	g.pass(TickEvery)
	require.True(t, closed(r.Done()))
	require.NoError(t, r.Err())
	r = leader.Reads.Join()
	g.run()
	require.True(t, closed(r.Done()), "the other is asked now")
}

func TestAReadWaitsUntilItsIndexIsPublished(t *testing.T) {
	g := newGroup(t, 3)
	leader, follower := g.elect(1), g.nodes[1]
	follower.holdApply = true
	leader.write("a")
	g.run()
	round := follower.Reads.Join()
	g.run()
	require.False(t, closed(round.Done()))
	follower.holdApply = false
	g.run()
	require.True(t, closed(round.Done()))
	require.Equal(t, []string{"a"}, follower.applied)
}

// A ctx that was asked with once is never asked with again: a late answer to it is no answer to the new question.
func TestALostRoundIsAskedForAgainWithAnotherCtx(t *testing.T) {
	g := newGroup(t, 3)
	leader, follower := g.elect(1), g.nodes[1]
	var lost []*pb.Message
	g.drop = func(m *pb.Message) bool {
		if m.GetType() == pb.MsgReadIndexResp {
			lost = append(lost, m)
			return true
		}
		return false
	}
	round := follower.Reads.Join()
	g.run()
	require.Len(t, lost, 1)
	leader.write("a")
	g.run()
	g.pass(roundRetry)
	require.Len(t, lost, 2)
	require.NotEqual(t, lost[0].GetEntries()[0].GetData(), lost[1].GetEntries()[0].GetData())

	g.sent = lost[:1]
	g.drop = nil
	g.run()
	require.False(t, closed(round.Done()), "the answer to the first question")
	g.sent = lost[1:]
	g.run()
	require.True(t, closed(round.Done()))
	require.Equal(t, leader.Published(), round.index)
}

func TestARoundIsAskedForAgainWhenAnotherLeads(t *testing.T) {
	g := newGroup(t, 3)
	g.elect(1)
	g.drop = cut(1)
	g.pass(electionTicks*TickEvery - TickEvery)
	round := g.nodes[1].Reads.Join()
	g.run()
	require.Equal(t, uint64(1), g.nodes[1].rounds.asked)
	g.pass(TickEvery)
	if !g.nodes[1].Leads() && !g.nodes[2].Leads() {
		require.NoError(t, g.nodes[2].Campaign())
		g.run()
	}
	require.True(t, closed(round.Done()))
	require.NoError(t, round.Err())
}

func TestReadsWithoutAMajorityEndInAnError(t *testing.T) {
	g := newGroup(t, 3)
	g.elect(1)
	g.drop = cut(1)
	first := g.nodes[0].Reads.Join()
	g.run()
	second := g.nodes[0].Reads.Join()
	g.pass(6 * time.Second)
	for _, round := range []*Round{first, second} {
		require.True(t, closed(round.Done()))
		require.ErrorIs(t, round.Err(), ErrNoIndex)
	}
}

// The library answers a single voter's reads from the committed index that it knows of, before its own term's first entry is
// committed: after a restart that may be behind what was committed.
func TestASingleVoterReadsNothingBeforeItsOwnTermsEntry(t *testing.T) {
	g := newGroup(t, 1)
	r := g.elect(1)
	r.write("a")
	g.run()
	hs, _, err := r.disk.InitialState()
	require.NoError(t, err)
	hs.Commit = new(uint64(1)) // the commit is not synced with the entry
	require.NoError(t, r.disk.SetHardState(hs))
	r.Core, err = NewCore(CoreOptions{
		ID: 1, Nonce: 7, Log: r.disk, Base: Base{Index: 1, Term: 1}, Clock: func() time.Duration { return g.now }, Wake: func() {},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	r.applied = nil
	round := r.Reads.Join()
	r.holdDisk = true
	require.NoError(t, r.Campaign())
	g.run()
	r.holdDisk = false
	for range 2 { // its vote, then the entry
		r.holdApply = true
		g.run()
		require.False(t, closed(round.Done()))
	}
	r.holdApply = false
	g.run()
	require.True(t, closed(round.Done()))
	require.Equal(t, []string{"a"}, r.applied)
}

// A learner's question, too, waits for that.
func TestALeaderHoldsQuestionsBackUntilItsTermsEntryIsPublished(t *testing.T) {
	g := newGroup(t, 3)
	g.nodes[0].holdApply = true
	require.NoError(t, g.nodes[0].Campaign())
	g.run()
	round := g.nodes[1].Reads.Join()
	g.run()
	require.False(t, closed(round.Done()))
	g.nodes[0].holdApply = false
	g.run()
	require.True(t, closed(round.Done()))
}

func TestBoundedReads(t *testing.T) {
	g := newGroup(t, 3)
	g.elect(1)
	follower := g.nodes[2]
	require.False(t, follower.Reads.Fresh(time.Hour), "no round has ended yet")
	g.pass(TickEvery)
	require.True(t, follower.Reads.Fresh(0), "one has begun by itself")
	g.drop = cut(3)
	g.pass(time.Second)
	require.False(t, follower.Reads.Fresh(900*time.Millisecond))
	require.True(t, follower.Reads.Fresh(time.Second))

	g.drop = nil
	follower.holdApply = true
	g.nodes[0].write("a")
	g.pass(2 * time.Second)
	require.False(t, follower.Reads.Fresh(time.Second), "what was committed is not published")
	follower.holdApply = false
	g.run()
	require.True(t, follower.Reads.Fresh(time.Second))

	g.pass(freshFor + time.Second)
	asked := follower.rounds.asked
	g.pass(time.Second)
	require.Equal(t, asked, follower.rounds.asked, "nobody asks any more")
}

func TestTransfer(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	g.drop = cut(2)
	leader.write("a")
	g.run()
	require.True(t, leader.Transfer(0))
	g.run()
	require.True(t, g.nodes[2].Leads(), "it has more of the log")

	g.drop = cut(1)
	require.True(t, g.nodes[2].Transfer(1))
	b := g.nodes[2].write("b")
	g.run()
	require.False(t, closed(b.Done()), "writes wait for the outcome")
	g.pass(time.Second)
	require.True(t, closed(b.Done()), "there was none, and it goes on")
	require.NoError(t, b.Err())
	require.False(t, g.nodes[0].Transfer(0), "it does not lead")
}

func TestAMinorityElectsNobodyAndALeaderWithoutMajorityStepsDown(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	term := leader.Term()
	g.drop = cut(1)
	b := leader.write("lost")
	g.pass(3 * time.Second)
	require.False(t, leader.Leads())
	require.ErrorIs(t, b.Err(), ErrUnknown)
	require.Equal(t, term, leader.Term(), "it asks before it raises the term")
	g.drop = nil
	g.pass(time.Second)
	for _, r := range g.nodes {
		require.Empty(t, r.applied)
		require.NotZero(t, r.Leader())
	}
}

// TestALeaderThatHasEnded: who knows that the leader has ended elects another before its time is up, and all who know it agree on one at the first attempt.
func TestALeaderThatHasEnded(t *testing.T) {
	for ended := uint64(1); ended <= 3; ended++ {
		g := newGroup(t, 3)
		term := g.elect(int(ended)).Term()
		g.pass(TickEvery)
		g.drop = cut(ended)
		for _, r := range g.nodes {
			if r.id != ended {
				r.Down(ended)
			}
		}
		g.run()
		for _, r := range g.nodes {
			if r.id != ended {
				require.Zero(t, r.Leader(), "nobody is sent on to the one that has ended")
			}
		}
		g.pass((standAfter + 1) * TickEvery)
		next := uint64(1)
		if ended == 1 {
			next = 2
		}
		r := g.nodes[next-1]
		require.True(t, r.Leads(), "%d has ended", ended)
		require.Equal(t, term+1, r.Term())
		b := r.write("x")
		g.run()
		require.NoError(t, b.Err())
		require.True(t, closed(b.Done()))
	}
}

// TestTheNextOneStandsWhereTheFirstCannotWin: it lacks what was committed, or has ended too.
func TestTheNextOneStandsWhereTheFirstCannotWin(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(3)
	g.drop = cut(1)
	b := leader.write("what the first one lacks")
	g.run()
	require.True(t, closed(b.Done()))
	g.drop = cut(3)
	g.nodes[0].Down(3)
	g.nodes[1].Down(3)
	g.pass((standAfter + standApart + 1) * TickEvery)
	require.True(t, g.nodes[1].Leads())
}

// TestAnElectionThatTakesLong is not disturbed by who gives his vote in it.
func TestAnElectionThatTakesLong(t *testing.T) {
	g := newGroup(t, 3)
	term := g.elect(3).Term()
	g.drop = cut(3)
	g.nodes[0].Down(3)
	g.nodes[1].Down(3)
	g.nodes[1].holdDisk = true
	g.pass((standAfter + standApart + 2) * TickEvery) // longer than its turn takes to come, and shorter than it waits for one that is silent
	require.Zero(t, g.nodes[1].Leader(), "its vote is not on its disk")
	g.nodes[1].holdDisk = false
	g.run()
	require.True(t, g.nodes[0].Leads())
	require.Equal(t, term+1, g.nodes[0].Term())
}

// TestWhoHasEndedIsNotReachable: at once, and until it is heard of; a change that needs it is refused meanwhile. The log is retained for it as for who is silent.
func TestWhoHasEndedIsNotReachable(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	g.pass(TickEvery)
	reachable := func() (ids []uint64) {
		v := View{}
		leader.view(&v)
		for _, m := range v.Members {
			if m.Reachable {
				ids = append(ids, m.ID)
			}
		}
		return ids
	}
	require.Equal(t, []uint64{1, 2, 3}, reachable())
	g.drop = cut(3)
	b := leader.write("what it lacks")
	g.run()
	leader.Down(3)
	require.True(t, closed(b.Done()))
	require.Equal(t, []uint64{1, 2}, reachable())
	require.Less(t, leader.Lacked(), leader.published)
	require.ErrorContains(t, leader.Remove(2), "only 1 of the 2 voters that there would be are reached")
	leader.Down(9) // who is no member
	g.drop = nil
	g.pass(TickEvery)
	require.Equal(t, []uint64{1, 2, 3}, reachable())
	require.Empty(t, leader.ended)
	leader.Down(3)
	require.NoError(t, leader.Remove(3))
	g.run()
	require.Empty(t, leader.ended)
}

// TestALeaderThatIsTakenForDead goes on: the others hear of it before their turn comes, and who stands nevertheless is elected by nobody who hears of it.
func TestALeaderThatIsTakenForDead(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(3)
	term := leader.Term()
	g.nodes[0].Down(3)
	g.nodes[1].Down(3)
	leader.Down(3)
	leader.Down(1)
	g.pass(time.Second)
	require.True(t, leader.Leads())
	require.Equal(t, term, leader.Term())

	g.drop = cut(1)
	g.nodes[0].Down(3)
	g.pass(2 * time.Second)
	g.drop = nil
	g.pass(time.Second)
	require.True(t, leader.Leads(), "one that is cut off takes it for dead")
	require.Equal(t, term, leader.Term())
}

func TestADiskThatHangs(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	leader.holdDisk = true
	leader.write("a")
	g.pass(500 * time.Millisecond)
	require.True(t, leader.Leads())
	g.pass(time.Second)
	require.False(t, leader.Leads())
	require.True(t, g.nodes[1].Leads() || g.nodes[2].Leads())
	require.PanicsWithError(t, "the disk has not answered for 10s", func() { g.pass(10 * time.Second) })
}

// All nodes on a host that stands still for a while, as one that is moved to another does, go on afterwards: the disks had that time no more than they.
func TestTimeInWhichANodeStoodStillIsNotTheDisks(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	for _, r := range g.nodes {
		r.holdDisk = true
	}
	leader.write("a")
	g.pass(500 * time.Millisecond)
	for range 3 {
		g.now += time.Minute
		g.pass(100 * time.Millisecond)
	}
	for _, r := range g.nodes {
		require.Zero(t, r.counts.DiskHangs)
		r.holdDisk = false
	}
	g.pass(100 * time.Millisecond)
	require.True(t, leader.Leads())
	require.NotEmpty(t, g.nodes[2].applied)
}

func TestEntriesThatAreNoBatchesAreRefused(t *testing.T) {
	b := make([]byte, batchHeader)
	id := batchID{1, 2, 3, 4}
	putBatchHeader(b, 5, id)
	got, payload, err := parseBatch(append(b, "payload"...), 5)
	require.NoError(t, err)
	require.Equal(t, id, got)
	require.Equal(t, "payload", string(payload))
	_, _, err = parseBatch(b, 6)
	require.ErrorIs(t, err, errOtherGroups)
	_, _, err = parseBatch(b[:36], 5)
	require.ErrorIs(t, err, errNoBatch)
	b[0] = 2
	_, _, err = parseBatch(b, 5)
	require.ErrorIs(t, err, errNoBatch)
	require.Equal(t, uint64(4), binary.BigEndian.Uint64(b[29:]), "the layout is in files")
}

// C4
func TestOnlyTheOldestBatchInFlightOfThisProcessIsPublishedFromMemory(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	leader.holdDisk = true
	b := leader.write("a")
	leader.step()
	id := batchID{1, leader.nonce, b.Epoch(), 1}
	for _, other := range []batchID{{2, id.nonce, id.epoch, 1}, {1, id.nonce + 1, id.epoch, 1}, {1, id.nonce, id.epoch + 2, 1}} {
		require.Nil(t, leader.own(other, 9), "%v", other)
	}
	require.PanicsWithError(t, "entry 9 is batch 2 of epoch 1, and the oldest in flight is another: C4 is broken",
		func() { leader.own(batchID{1, id.nonce, id.epoch, 2}, 9) })
	require.Same(t, b, leader.own(id, 9))
	require.Nil(t, leader.own(id, 9), "once")
}
