package cluster

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

// C6
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
