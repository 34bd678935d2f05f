package cluster

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

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

// TestASyncIsForEntriesTermsAndVotes: entries, terms and votes are synced; how far the log is committed is told without.
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

// A node that has carried out a change of the members does not forget it: that the change is committed is synced, too.
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
