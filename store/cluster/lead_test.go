package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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

// TestALeaderThatHasEnded: who knows that the leader has ended elects another before its time is up, and all who know
// it agree on one at the first attempt.
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

// TestWhoHasEndedIsNotReachable: at once, and until it is heard of; a change that needs it is refused meanwhile. The
// log is retained for it as for who is silent.
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

// TestALeaderThatIsTakenForDead goes on: the others hear of it before their turn comes, and who stands nevertheless is
// elected by nobody who hears of it.
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

// All nodes on a host that stands still for a while, as one that is moved to another does, go on afterwards: the disks
// had that time no more than they.
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
