package cluster

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

func TestANewMemberLearnsAndBecomesAVoterOnceItHasKeptUp(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	joins := g.add(g.nodes[0].Members())
	require.NoError(t, leader.AddLearner(at(4)))
	require.ErrorIs(t, leader.AddLearner(at(5)), ErrChanging)
	g.run()
	for _, r := range g.nodes {
		require.Equal(t, []uint64{4}, r.conf.GetLearners())
		require.Equal(t, at(4), r.Members()[4])
	}
	require.ErrorContains(t, leader.AddLearner(at(4)), "is a member already, at kv-4:7401")
	require.ErrorContains(t, leader.AddLearner(Member{ID: 9, Peer: "kv-4:7401"}), "is at kv-4:7401 already")
	require.ErrorContains(t, leader.AddLearner(Member{ID: 9, Peer: "kv-9:7401", Replaces: 8}),
		"which it is to replace, is no member")
	var not *NotLeaderError
	require.ErrorAs(t, g.nodes[1].AddLearner(at(5)), &not)
	require.ErrorAs(t, g.nodes[1].canLead(1), &not)
	var wrong *WrongChangeError
	require.ErrorAs(t, leader.AddLearner(at(4)), &wrong)
	require.False(t, wrong.NoMember)
	require.ErrorAs(t, leader.canLead(4), &wrong)
	require.EqualError(t, wrong, "node 4 does not vote, and so can't lead: it will when it has caught up")
	require.NoError(t, leader.canLead(2))

	g.drop = func(m *pb.Message) bool { return m.GetTo() == 4 && m.GetType() == pb.MsgApp }
	leader.write("a")
	g.pass(10 * time.Second)
	require.Equal(t, []uint64{4}, leader.conf.GetLearners(), "it lacks what was committed")
	g.drop = nil
	g.pass(promoteAfter)
	require.Equal(t, []uint64{4}, leader.conf.GetLearners(), "not yet")
	g.pass(2 * time.Second)
	for _, r := range g.nodes {
		require.Equal(t, []uint64{1, 2, 3, 4}, r.conf.GetVoters())
	}
	require.Equal(t, []string{"a"}, joins.applied)
}

func TestANodeTakesTheDeadOnesPlaceInOneStep(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	g.drop = cut(3)
	g.add(leader.Members())
	m := at(4)
	m.Replaces, m.Peer = 3, at(3).Peer // the same machine, with an empty disk
	require.NoError(t, leader.AddLearner(m))
	joint := false
	for range 120 {
		g.pass(TickEvery)
		joint = joint || len(leader.conf.GetVotersOutgoing()) > 0
		require.NotEqual(t, 4, len(leader.conf.GetVoters()))
	}
	require.Equal(t, []uint64{1, 2, 4}, leader.conf.GetVoters())
	require.Empty(t, leader.conf.GetVotersOutgoing())
	require.Len(t, leader.Members(), 3)
	require.Equal(t, m, leader.Members()[4])
	leader.write("a")
	g.run()
	require.Equal(t, []string{"a"}, g.nodes[3].applied)
}

func TestALeaderThatIsReplacedHandsOverFirst(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	g.add(leader.Members())
	m := at(4)
	m.Replaces = 1
	require.NoError(t, leader.AddLearner(m))
	g.pass(12 * time.Second)
	require.False(t, leader.Leads())
	require.Equal(t, []uint64{2, 3, 4}, g.leader().conf.GetVoters())
}

func TestRemove(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	require.ErrorIs(t, leader.Remove(1), ErrLeads)
	require.ErrorContains(t, leader.Remove(7), "node 7 is no member")
	var wrong *WrongChangeError
	require.ErrorAs(t, leader.canLead(7), &wrong)
	require.True(t, wrong.NoMember)
	g.drop = cut(2)
	g.pass(2 * heardWithin)
	require.ErrorContains(t, leader.Remove(3), "only 1 of the 2 voters that there would be are reached")
	require.NoError(t, leader.Remove(2), "the dead one may go")
	g.run()
	require.Equal(t, []uint64{1, 3}, leader.conf.GetVoters())
	require.NotContains(t, leader.Members(), uint64(2))
	g.drop = nil
	term := leader.Term()
	g.pass(5 * time.Second)
	require.Equal(t, term, leader.Term(), "who was removed, and does not know, disturbs nobody")
	require.True(t, leader.Leads())

	require.NoError(t, leader.Remove(3))
	g.run()
	require.Equal(t, []uint64{1}, leader.conf.GetVoters())
	b := leader.write("alone")
	g.run()
	require.NoError(t, b.Err())
}

// A state machine that is slow has changes of the members yet to apply when a snapshot arrives, whose voters those
// changes have become meanwhile. Were it to carry them out behind the snapshot, its node alone would have three voters
// where there are five, and two nodes would be a majority for it, beside the three of everybody else.
func TestASnapshotWaitsForChangesThatAreBeingApplied(t *testing.T) {
	g := newGroup(t, 3)
	leader, slow := g.elect(1), g.nodes[1]
	slow.holdApply = true
	for id := uint64(4); id <= 5; id++ {
		g.add(leader.Members())
		require.NoError(t, leader.AddLearner(at(id)))
		g.run()
	}
	g.drop = cut(2)
	g.pass(6 * time.Second)
	require.Equal(t, []uint64{1, 2, 3, 4, 5}, leader.conf.GetVoters())
	leader.write("a")
	g.run()
	require.NoError(t, leader.disk.Compact(leader.Published())) // so what it lacks is to be had as a snapshot alone

	snapshots := 0
	g.drop = func(m *pb.Message) bool {
		if m.GetType() == pb.MsgSnap {
			snapshots++
		}
		return false
	}
	g.pass(time.Second)
	require.Equal(t, 1, snapshots, "what follows it is not refused meanwhile, or it would be sent again")
	require.Equal(t, []uint64{1, 2, 3}, slow.conf.GetVoters())
	require.NotEmpty(t, slow.applies)
	slow.holdApply = false
	g.pass(time.Second)
	require.Equal(t, 1, snapshots)
	require.Equal(t, leader.Published(), slow.Published())
	require.Equal(t, leader.conf.GetVoters(), slow.conf.GetVoters())
	require.Equal(t, leader.conf.GetLearners(), slow.conf.GetLearners())
	require.Equal(t, leader.Members(), slow.Members())
	require.Equal(t, leader.rn.Status().Config.Voters, slow.rn.Status().Config.Voters, "as the library has them")

	apart := func(id uint64) bool { return id == 2 || id == 3 }
	g.drop = func(m *pb.Message) bool { return apart(m.GetFrom()) != apart(m.GetTo()) }
	b := leader.write("b")
	g.pass(5 * time.Second)
	require.NoError(t, b.Err())
	require.True(t, leader.Leads())
	require.False(t, slow.Leads() || g.nodes[2].Leads(), "two of five are no majority")
	g.drop = nil
	g.pass(time.Second)
	require.Equal(t, leader.Published(), slow.Published())
}

// Who leads anew may have several changes to carry out at once, since a crash may take what was known to be committed.
// Each of them lets the library send snapshots, which must be of one entry, and of the voters as of that.
func TestASnapshotBetweenTwoChangesHasTheVotersOfItsEntry(t *testing.T) {
	g := newGroup(t, 5)
	leader, next := g.elect(1), g.nodes[1]
	g.drop = cut(5)
	leader.write("a")
	g.run()
	base := next.Place()
	added := map[uint64]uint64{} // by learner: the entry
	for id := uint64(6); id <= 7; id++ {
		g.add(base.Members)
		require.NoError(t, leader.AddLearner(at(id)))
		g.run()
		added[id] = leader.Published()
	}

	snapshot, err := next.disk.CreateSnapshot(base.Index, base.Conf, nil)
	require.NoError(t, err)
	require.NoError(t, next.disk.Compact(snapshot.GetMetadata().GetIndex()))
	require.NoError(t, next.disk.SetHardState(&pb.HardState{Term: new(leader.Term()), Vote: new(uint64(1)), Commit: new(base.Index)}))
	next.start(2, base)
	next.fetching, next.holdApply = math.MaxInt, true
	var sent []*pb.SnapshotMetadata
	g.drop = func(m *pb.Message) bool {
		if m.GetType() == pb.MsgSnap && m.GetFrom() == 2 {
			sent = append(sent, m.GetSnapshot().GetMetadata())
		}
		if isVote(m) {
			m.Context = nil // else it would know what is committed before it leads
		}
		return cut(1)(m) || m.GetType() == pb.MsgPreVote && m.GetFrom() != 2 // nobody else stands
	}
	for range 200 {
		if g.pass(TickEvery); next.leadTerm != 0 {
			break
		}
	}
	require.NotZero(t, next.leadTerm)
	require.Empty(t, sent)
	g.pass(time.Second)
	require.Equal(t, base.Index, next.Published())

	next.fetching, next.holdApply = 1, false // the disk has it between the first change and the second
	g.pass(time.Second)
	require.NotEmpty(t, sent)
	for _, s := range sent {
		for id, index := range added {
			require.Equal(t, s.GetIndex() >= index, slices.Contains(s.GetConfState().GetLearners(), id),
				"learner %d, snapshot %d", id, s.GetIndex())
		}
	}
	require.Equal(t, next.Published(), g.nodes[4].Published())
	require.Equal(t, next.conf.GetLearners(), g.nodes[4].conf.GetLearners())
}

func TestMembersAreEncoded(t *testing.T) {
	all := Members{1: at(1), 7: {ID: 7, Replaces: 1, Peer: "x"}, 3: {ID: 3}}
	b := all.Encode()
	got, err := DecodeMembers(b)
	require.NoError(t, err)
	require.Equal(t, all, got)
	for n := range b {
		if got, err := DecodeMembers(b[:n]); err == nil {
			require.Less(t, len(got), len(all))
		}
	}
}

// A member that has moved to another address is still the same member.
func TestAMemberMoves(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	for _, id := range []uint64{1, 3} {
		moved := Member{ID: id, Client: "elsewhere:7400", Peer: at(id + 10).Peer}
		require.NoError(t, leader.Move(moved, nil))
		require.ErrorIs(t, leader.Move(at(2), nil), ErrChanging)
		g.run()
		for _, r := range g.nodes {
			require.Equal(t, moved, r.Members()[id])
			require.Equal(t, []uint64{1, 2, 3}, r.conf.GetVoters())
			require.Empty(t, r.conf.GetLearners())
		}
	}
	require.ErrorContains(t, leader.Move(at(9), nil), "node 9 is no member")
	require.ErrorContains(t, leader.Move(Member{ID: 2, Peer: at(11).Peer}, nil), "node 1 is at kv-11:7401 already")
	require.ErrorAs(t, g.nodes[1].Move(at(2), nil), new(*NotLeaderError))

	// Two change places, and then all three do.
	places := func(want map[uint64]uint64) {
		t.Helper()
		for id, place := range want {
			m := Member{ID: id, Client: at(place).Client, Peer: at(place).Peer}
			left := func(other Member) bool { return at(want[other.ID]).Peer != m.Peer }
			require.NoError(t, leader.Move(m, left))
			g.run()
		}
		for _, r := range g.nodes {
			for id, place := range want {
				require.Equal(t, Member{ID: id, Client: at(place).Client, Peer: at(place).Peer}, r.Members()[id])
			}
			require.Equal(t, []uint64{1, 2, 3}, r.conf.GetVoters())
		}
	}
	places(map[uint64]uint64{1: 1, 2: 2, 3: 3})
	places(map[uint64]uint64{1: 2, 2: 1, 3: 3})
	places(map[uint64]uint64{1: 3, 2: 2, 3: 1})
	staying := func(other Member) bool { return other.ID != 2 }
	require.ErrorContains(t, leader.Move(Member{ID: 1, Peer: at(2).Peer}, staying), "node 2 is at kv-2:7401 already")
	g.add(leader.Members())
	require.NoError(t, leader.AddLearner(at(4)))
	g.run()
	require.NoError(t, leader.Move(Member{ID: 4, Peer: at(14).Peer}, nil))
	g.run()
	require.Equal(t, []uint64{4}, leader.conf.GetLearners())
	leader.write("a")
	g.run()
}
