package cluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

// How many bytes lie behind an entry is what its successors take, wherever they are, whatever they have taken the place of.
func TestBytesBehind(t *testing.T) {
	o := smallLog(newFS(t), 1)
	o.MarkEvery = 1
	l, err := NewLog(o, Self{})
	require.NoError(t, err)
	require.Zero(t, l.BytesBehind(0))
	size := func(i uint64) int { return int(i * 37 % 300) }
	save := func(from, to, term uint64) {
		for i := from; i <= to; i++ {
			require.NoError(t, l.Save([]*Append{{Entries: []*pb.Entry{entry(i, term, strings.Repeat("x", size(i)))}, Sync: true}}))
		}
	}
	save(2, 60, 2)
	save(20, 50, 3)
	save(33, 40, 4)
	require.Greater(t, len(l.segments), 5)
	check := func() {
		for i := uint64(1); i < 40; i++ {
			one := l.BytesBehind(i) - l.BytesBehind(i+1)
			require.InDelta(t, size(i+1)+50, one, 50, "entry %d", i+1)
		}
		require.Equal(t, l.BytesBehind(1), l.BytesBehind(0), "it begins behind entry 1")
		for _, i := range []uint64{40, 41, 60, 1000} {
			require.Zero(t, l.BytesBehind(i), i)
		}
	}
	check()
	require.NoError(t, l.Close())
	l, err = OpenLog(o)
	require.NoError(t, err)
	check()
	require.NoError(t, l.Close())
}

// Each thing that is counted is, once.
func TestCounts(t *testing.T) {
	g := newGroup(t, 3)
	leader, other := g.elect(1), g.nodes[2]
	require.Equal(t, Counts{Elections: 1}, leader.counts)
	require.Equal(t, Counts{Elections: 1}, other.counts)

	g.drop = func(m *pb.Message) bool { return m.GetType() == pb.MsgApp }
	leader.write("one")
	g.run()
	leader.write("two")
	leader.write("three")
	require.Empty(t, leader.applying)
	g.drop = nil
	g.pass(leader.readTimeout / 2)
	require.EqualValues(t, 2, leader.counts.Batches, "one was under way, and two waited")
	require.EqualValues(t, 3, leader.counts.Writes)
	require.Zero(t, other.counts.Batches)

	other.Reads.Join()
	other.Reads.Join()
	g.run()
	require.EqualValues(t, 1, other.counts.Rounds)
	require.EqualValues(t, 2, other.counts.Reads)
	require.Zero(t, leader.counts.Rounds, "it only answered")

	g.drop = func(*pb.Message) bool { return true }
	other.Reads.Join()
	g.pass(2 * other.readTimeout)
	require.EqualValues(t, 2, other.counts.Rounds)
	require.EqualValues(t, 1, other.counts.NoIndex)
	g.drop = nil
	next := g.elect(1)
	g.run()
	require.EqualValues(t, 2, next.counts.Elections)
	var v View
	next.view(&v)
	require.Equal(t, next.counts, v.Counts)
	require.Equal(t, v.Committed, v.LogEnd)
	require.Zero(t, v.Applying)
	require.Zero(t, v.Syncing)
}
