package netserver_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// replica is a store.Replica in memory, which commits what it is asked to wait for.
type replica struct {
	mu      sync.Mutex
	store   *store.Store
	last    uint64
	applied uint64
	pending []replicaRecord
	epoch   uint64
	leader  string // of another
	begun   []store.ReadMode
	refuse  error // what Begin answers
	lost    bool  // the epoch ends before anything is committed
}

type replicaRecord struct {
	version uint64
	entries []*store.Entry
}

// set changes what the replica does.
func (r *replica) set(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *replica) Expect() int64 { return 0 }

func (r *replica) Admit(int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch%2 == 0 {
		return &store.MovedError{Leader: r.leader}
	}
	return nil
}

func (r *replica) Replay(_, _ func([]*store.Entry)) (uint64, error) { return 0, nil }

func (r *replica) Append(floor uint64, entries []*store.Entry) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = max(r.last, floor) + 1
	r.pending = append(r.pending, replicaRecord{r.last, store.Kept(entries)})
	return r.last, nil
}

func (r *replica) Durable() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.applied
}

func (r *replica) Wait(version uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost {
		r.epoch++
		return store.ErrUnknown
	}
	for r.applied < version {
		x := r.pending[0]
		r.pending = r.pending[1:]
		if err := r.store.Apply(x.version, x.entries); err != nil {
			return err
		}
		r.applied = x.version
	}
	return nil
}

func (r *replica) Begin(mode store.ReadMode) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun = append(r.begun, mode)
	return r.refuse
}

func (r *replica) Confirm() error { return nil }

func (r *replica) Epoch() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

func startReplica(t *testing.T) (*nettest.Conn, *replica) {
	r := &replica{epoch: 1}
	s := nettest.Start(t, nettest.Options{Store: store.Options{Journal: r, Proposes: true}})
	r.set(func() { r.store = s.Store })
	return s.Dial(t), r
}

// What has come together is read after one look at how new the store is, and again only behind a write, which the connection then sees.
func TestBatchesOnAReplica(t *testing.T) {
	c, r := startReplica(t)
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
	r.set(func() {
		require.LessOrEqual(t, len(r.begun), 8) // 3, where all has come together
		require.GreaterOrEqual(t, len(r.begun), 3)
	})
	require.Equal(t, []string{"4"}, values(get(9)))

	values(protocol.Reads{Bound: 1500}.AppendTo(nil, 10), get(11))
	r.set(func() { require.Equal(t, store.ReadMode{Bound: 1500 * time.Millisecond}, r.begun[len(r.begun)-1]) })
}

// What a replica can't do is answered as it is meant: who leads instead, that nobody does, that it is not known what became of a write, that it
// is not new enough.
func TestRefusalsOfAReplica(t *testing.T) {
	c, r := startReplica(t)
	key := []byte("k")
	set := protocol.Set{Key: key}.AppendTo(nil, 1)
	get := protocol.Get{Key: key}.AppendTo(nil, 2)

	r.set(func() { r.refuse = store.ErrStale })
	c.Send(get, set)
	c.Expect(protocol.OpGet, protocol.StatusStale, 2)
	c.Next() // the write, if it came with the read, is refused with it
	r.set(func() { r.refuse = nil })

	r.set(func() { r.lost = true })
	require.Equal(t, protocol.StatusUnavailable, c.Do(set).Status())
	require.EqualValues(t, 2, r.Epoch())
	r.set(func() { r.lost = false })

	const leader = "10.0.0.2:7070"
	r.set(func() { r.leader = leader })
	f := c.Do(set)
	require.Equal(t, protocol.StatusMoved, f.Status())
	require.Equal(t, leader, string(f.Body))
	require.Equal(t, protocol.StatusNotFound, c.Do(get).Status(), "reads go on")
	r.set(func() { r.leader = "" })
	require.Equal(t, protocol.StatusUnavailable, c.Do(set).Status())
}
