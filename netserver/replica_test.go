package netserver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// What has come together is read after one look at how new the store is, and again only behind a write, which the
// connection then sees.
func TestBatchesOnAReplica(t *testing.T) {
	s, r := nettest.StartReplica(t, nettest.Options{})
	c := s.Dial(t)
	key := []byte("k")
	get := func(id uint32) []byte { return protocol.Get{Key: key}.AppendTo(nil, id) }
	set := func(id uint32, v string) []byte { return protocol.Set{Key: key, Value: []byte(v)}.AppendTo(nil, id) }
	values := func(batch ...[]byte) (all []string) {
		c.Send(batch...)
		for range batch {
			f := c.Next()
			require.Equal(t, protocol.StatusOK, f.Status())
			if f.Opcode == protocol.OpGet {
				all = append(all, string(f.Body[len(f.Body)-1:]))
			}
		}
		return all
	}
	require.Equal(t, []string{"1", "1", "2", "3"}, values(set(1, "1"), get(2), get(3), set(4, "2"), get(5), set(6, "3"), get(7), set(8, "4")))
	r.Set(func() {
		require.LessOrEqual(t, len(r.Begun), 8) // 3, where all has come together
		require.GreaterOrEqual(t, len(r.Begun), 3)
	})
	require.Equal(t, []string{"4"}, values(get(9)))

	values(protocol.Reads{Bound: 1500}.AppendTo(nil, 10), get(11))
	r.Set(func() { require.Equal(t, store.ReadMode{Bound: 1500 * time.Millisecond}, r.Begun[len(r.Begun)-1]) })
}

// What a replica can't do is answered as it is meant: who leads instead, that nobody does, that it is not known what
// became of a write, that it is not new enough.
func TestRefusalsOfAReplica(t *testing.T) {
	s, r := nettest.StartReplica(t, nettest.Options{})
	c := s.Dial(t)
	key := []byte("k")
	set := protocol.Set{Key: key}.AppendTo(nil, 1)
	get := protocol.Get{Key: key}.AppendTo(nil, 2)

	r.Set(func() { r.Refuse = store.ErrStale })
	c.Send(get, set)
	c.Expect(protocol.OpGet, protocol.StatusStale, 2)
	c.Next() // the write, if it came with the read, is refused with it
	r.Set(func() { r.Refuse = store.ErrNoMajority })
	require.Equal(t, protocol.StatusUnavailable, c.Do(get).Status(), "a pool of the Go client asks again")
	r.Set(func() { r.Refuse = nil })

	r.Set(func() { r.Lost = true })
	require.Equal(t, protocol.StatusUnavailable, c.Do(set).Status())
	require.EqualValues(t, 2, r.Epoch())
	r.Set(func() { r.Lost = false })

	const leader = "10.0.0.2:7070"
	r.Set(func() { r.Leader = leader })
	f := c.Do(set)
	require.Equal(t, protocol.StatusMoved, f.Status())
	require.Equal(t, leader, string(f.Body))
	require.Equal(t, protocol.StatusNotFound, c.Do(get).Status(), "reads go on")
	r.Set(func() { r.Leader = "" })
	require.Equal(t, protocol.StatusUnavailable, c.Do(set).Status())
}

// Leadership is lost while a batch is under way of which reads come behind writes. What of it is known to be done, or
// not to be applied, is answered so; where it was cut in two, or that is not known, all of it may have been applied.
func TestABatchAcrossALossOfLeadership(t *testing.T) {
	s, r := nettest.StartReplica(t, nettest.Options{})
	c := s.Dial(t)
	const leader = "10.0.0.2:7070"
	set := func(id uint32, key, value string) []byte {
		return protocol.Set{Key: []byte(key), Value: []byte(value)}.AppendTo(nil, id)
	}
	const ok, moved, unavailable = protocol.StatusOK, protocol.StatusMoved, protocol.StatusUnavailable
	for _, tt := range []struct {
		loss nettest.Loss
		want [4]protocol.Status
	}{
		{nettest.Loss{Survive: 2, Known: true}, [4]protocol.Status{ok, ok, ok, moved}},
		{nettest.Loss{Survive: 2}, [4]protocol.Status{ok, ok, ok, moved}},
		{nettest.Loss{Survive: 1, Known: true}, [4]protocol.Status{unavailable, unavailable, unavailable, unavailable}},
		{nettest.Loss{Survive: 0, Known: true}, [4]protocol.Status{moved, moved, unavailable, moved}},
		{nettest.Loss{Survive: 0}, [4]protocol.Status{unavailable, unavailable, unavailable, unavailable}},
	} {
		t.Run(fmt.Sprintf("%+v", tt.loss), func(t *testing.T) {
			loss := tt.loss
			loss.Leader = leader
			r.Lead()
			require.Equal(t, ok, c.Do(set(1, "a", "old")).Status())
			r.Set(func() { r.Lose = &loss })
			c.Send(set(1, "a", "new"), set(2, "b", "new"), protocol.Get{Key: []byte("a")}.AppendTo(nil, 3), set(4, "c", "new"))
			for i, want := range tt.want {
				f := c.Next()
				require.EqualValues(t, i+1, f.ID)
				require.Equal(t, want, f.Status(), "%d: %q", i+1, f.Body)
				switch {
				case want == moved:
					require.Equal(t, leader, string(f.Body))
				case want == ok && i == 2:
					require.Equal(t, "new", string(f.Body))
				}
			}
			require.Equal(t, ok, c.Do(protocol.Get{Key: []byte("a")}.AppendTo(nil, 5)).Status(), "the connection goes on")
		})
	}
}
