package cluster

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// left is what a crash has left of a node's log, whose entries are all of term 2.
type left struct {
	last      uint64 // the last entry
	committed uint64 // what it knows to be committed
}

// crashed returns a group of as many founders, of which the last one is being replaced by another node, as a crash of
// all has left them; of some, by id, nothing is left. The log is the same one:
//
//	2 the leader's first entry    3 the new node learns    4 it votes in the place of the other, both sets count    5 the new set counts alone
func crashed(t *testing.T, founders uint64, nodes map[uint64]left) *group {
	g := newGroup(t, int(founders))
	members := g.nodes[0].Members()
	g.add(members)
	joins := at(founders + 1)
	joins.Replaces = founders
	change := func(context []byte, changes ...*pb.ConfChangeSingle) *pb.Entry {
		data, err := proto.Marshal(&pb.ConfChangeV2{Context: context, Changes: changes})
		require.NoError(t, err)
		return &pb.Entry{Type: pb.EntryConfChangeV2.Enum(), Data: data}
	}
	one := func(what pb.ConfChangeType, id uint64) *pb.ConfChangeSingle {
		return &pb.ConfChangeSingle{Type: what.Enum(), NodeId: new(id)}
	}
	log := []*pb.Entry{
		{}, change(joins.append(nil), one(pb.ConfChangeAddLearnerNode, joins.ID)),
		change(nil, one(pb.ConfChangeAddNode, joins.ID), one(pb.ConfChangeRemoveNode, founders)), change(nil), {}, {},
	}
	for i, e := range log {
		e.Index, e.Term = new(uint64(i+2)), new(uint64(2))
	}
	for _, r := range g.nodes {
		n := nodes[r.id]
		if n.last == 0 {
			continue
		}
		require.NoError(t, r.disk.Append(log[:n.last-1]))
		require.NoError(t, r.disk.SetHardState(&pb.HardState{Term: new(uint64(2)), Vote: new(uint64(0)), Commit: new(n.committed)}))
		r.start(r.id, Base{Index: 1, Term: 1, Members: members})
	}
	g.drop = func(m *pb.Message) bool { return nodes[m.GetFrom()].last == 0 || nodes[m.GetTo()].last == 0 }
	return g
}

// What is known to be committed is not synced for itself. So nodes can come out of a crash with different sets of
// voters, each of which needs a vote that it does not get: whoever is asked has more of the log, or is gone. What they
// tell each other with votes helps them out of that.
func TestNodesThatDoNotKnowTheSameVotersElectALeader(t *testing.T) {
	for name, c := range map[string]struct {
		founders uint64
		nodes    map[uint64]left // of which none has promised what the last entries are of, and so not all have them
	}{
		"the replaced one refuses, and knows":                   {2, map[uint64]left{1: {6, 1}, 2: {7, 5}, 3: {5, 1}}},
		"the replaced one refuses, and the new one knows, too":  {2, map[uint64]left{1: {6, 1}, 2: {7, 5}, 3: {5, 5}}},
		"the replaced one is gone, the new one asks, and knows": {2, map[uint64]left{1: {6, 1}, 3: {5, 5}}},
		"the new one is refused, and is behind":                 {2, map[uint64]left{1: {6, 5}, 2: {7, 1}, 3: {5, 1}}},
		"it is not known that the old set counts no more":       {2, map[uint64]left{1: {6, 4}, 2: {7, 5}, 3: {5, 4}}},
		"that, and the replaced one is gone":                    {2, map[uint64]left{1: {6, 4}, 3: {5, 5}}},
		"the new one knows only that both sets count":           {2, map[uint64]left{1: {6, 1}, 2: {7, 5}, 3: {5, 4}}},
		"nobody knows":              {2, map[uint64]left{1: {6, 1}, 2: {7, 1}, 3: {5, 1}}},
		"of three, another is down": {3, map[uint64]left{1: {6, 1}, 3: {7, 5}, 4: {5, 1}}},
		"of three, another is down, and the new one knows": {3, map[uint64]left{1: {6, 1}, 3: {7, 5}, 4: {5, 5}}},
		"of three, two are gone":                           {3, map[uint64]left{1: {6, 1}, 4: {5, 5}}},
		"of three, two are gone, and both sets counted":    {3, map[uint64]left{1: {6, 4}, 4: {5, 5}}},
		"of three, all are there":                          {3, map[uint64]left{1: {6, 1}, 2: {5, 1}, 3: {7, 5}, 4: {5, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			g := crashed(t, c.founders, c.nodes)
			g.pass(20 * time.Second)
			leader := g.leader()
			require.NotNil(t, leader)
			require.NotContains(t, leader.conf.GetVoters(), c.founders)
			require.Contains(t, leader.conf.GetVoters(), c.founders+1)
			b := leader.write("a")
			g.run()
			require.True(t, closed(b.Done()))
			require.NoError(t, b.Err())
		})
	}
}

// An entry with the index may be of another term; and a node that follows a leader hears of commits from the leader.
func TestWhatAVoteTellsCountsForWhoHasThatEntry(t *testing.T) {
	told := func(index, term uint64) *pb.Message {
		b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, index), term)
		return &pb.Message{Type: pb.MsgPreVoteResp.Enum(), From: new(uint64(2)), To: new(uint64(1)),
			Term: new(uint64(2)), Reject: new(true), Context: b}
	}
	begin := func() (*group, *replica) {
		g := crashed(t, 3, map[uint64]left{1: {6, 2}})
		return g, g.nodes[0]
	}
	for name, m := range map[string]*pb.Message{
		"another entry of that index": told(5, 1),
		"a later one of that index":   told(5, 3),
		"behind the log":              told(7, 2),
		"known":                       told(2, 2),
		"before the log":              told(0, 0),
		"no such thing":               {Type: pb.MsgPreVoteResp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2)), Reject: new(true), Context: []byte("something else")},
		"no vote":                     {Type: pb.MsgHeartbeatResp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(2)), Context: told(5, 2).Context},
	} {
		t.Run(name, func(t *testing.T) {
			g, r := begin()
			r.Step(m)
			g.run()
			require.EqualValues(t, 2, r.Published())
		})
	}
	g, r := begin()
	r.Step(told(5, 2))
	g.run()
	require.EqualValues(t, 5, r.Published())
	require.Equal(t, []uint64{1, 2, 4}, r.conf.GetVoters())
	hs, _, err := r.disk.InitialState()
	require.NoError(t, err)
	require.EqualValues(t, 5, hs.GetCommit())

	t.Run("there is a leader", func(t *testing.T) {
		g, r := begin()
		r.Step(&pb.Message{Type: pb.MsgHeartbeat.Enum(), From: new(uint64(3)), To: new(uint64(1)), Term: new(uint64(2)),
			Commit: new(uint64(2))})
		r.Step(told(5, 2))
		g.run()
		require.EqualValues(t, 3, r.Leader())
		require.EqualValues(t, 2, r.Published())
	})
	t.Run("it stands for election", func(t *testing.T) {
		g, r := begin()
		require.NoError(t, r.Campaign())
		g.run()
		require.Equal(t, raft.StatePreCandidate, r.rn.BasicStatus().RaftState)
		r.Step(told(5, 2))
		require.Equal(t, raft.StateFollower, r.rn.BasicStatus().RaftState, "its voters are others now")
		require.EqualValues(t, 2, r.rn.BasicStatus().HardState.GetTerm())
	})
}

// Whose log has been cut where another leader's went on tells what is published, and nothing above.
func TestVotesTellWhatIsPublished(t *testing.T) {
	g := newGroup(t, 3)
	leader := g.elect(1)
	leader.write("a")
	g.run()
	published := leader.Published()
	g.drop = cut(1)
	leader.write("b")
	g.run()
	told := 0
	g.drop = func(m *pb.Message) bool {
		if isVote(m) {
			told++
			require.Len(t, m.GetContext(), toldSize)
			require.Equal(t, published, binary.BigEndian.Uint64(m.GetContext()))
		} else {
			require.NotEqual(t, toldSize, len(m.GetContext()), m.GetType())
		}
		return true
	}
	g.pass(3 * time.Second)
	require.NotZero(t, told)

	g.drop = nil
	g.pass(3 * time.Second)
	next := g.leader()
	g.drop = func(m *pb.Message) bool {
		if m.GetType() == pb.MsgVote {
			require.Equal(t, "CampaignTransfer", string(m.GetContext()), "what the library says stays")
		}
		return false
	}
	require.True(t, next.Transfer(0))
	g.run()
	require.NotEqual(t, next, g.leader())
}
