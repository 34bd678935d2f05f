package cluster

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
)

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
