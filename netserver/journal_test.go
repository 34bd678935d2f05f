package netserver_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// journal is a store.Journal in memory that can be made to wait and to fail.
type journal struct {
	mu     sync.Mutex
	last   uint64 // the last version given
	synced uint64 // all up to it is durable
	held   chan struct{}
	failed bool
}

func (j *journal) Replay(_, _ func([]*store.Entry)) (uint64, error) { return 0, nil }

func (j *journal) Append(floor uint64, _ []*store.Entry) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = max(j.last, floor) + 1
	return j.last, nil
}

func (j *journal) Expect() int64 { return 0 }

func (j *journal) Admit(int64) error { return nil }

func (j *journal) Durable() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.synced
}

func (j *journal) Wait(version uint64) error {
	j.mu.Lock()
	held := j.held
	j.mu.Unlock()
	if held != nil {
		<-held
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed && version > j.synced {
		return fmt.Errorf("the disk failed: %w", store.ErrReadOnly)
	}
	j.synced = max(j.synced, version)
	return nil
}

// hold makes Wait wait until release is called.
func (j *journal) hold() (release func()) {
	held := make(chan struct{})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.held = held
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.held = nil
		close(held)
	}
}

func (j *journal) fail() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = true
}

// TestJournalFails: once the journal has failed, nothing that is not durable leaves the server, written or read; what is
// durable can still be read, in the same batch too.
func TestJournalFails(t *testing.T) {
	durable, lost := []byte("durable"), []byte("lost")
	large := make([]byte, 200_000)
	for _, secured := range []bool{false, true} {
		j := &journal{}
		s := nettest.Start(t, nettest.Options{Store: store.Options{Journal: j}, TLS: secured})
		c := s.Dial(t)
		require.Equal(t, protocol.StatusOK, c.Do(protocol.Set{Key: durable, Value: large}.AppendTo(nil, 1)).Status())
		j.fail()

		// The first batch to notice: all of it is refused, for its answers were given together.
		batch := [][]byte{
			protocol.Set{Key: lost, Value: large}.AppendTo(nil, 2),
			protocol.Get{Key: lost}.AppendTo(nil, 3),
		}
		c.Send(batch...)
		require.Equal(t, []protocol.Status{protocol.StatusUnavailable, protocol.StatusUnavailable}, expectAll(t, c, batch))

		// From then on, request by request.
		batch = [][]byte{
			protocol.Get{Key: durable}.AppendTo(nil, 4),
			protocol.Get{Key: lost}.AppendTo(nil, 5),
			protocol.AppendKeys(nil, protocol.OpMGet, 0, 6, durable, durable),
			protocol.AppendKeys(nil, protocol.OpMGet, 0, 7, durable, lost),
			ping(8, "x"),
		}
		for range 2 {
			c.Send(batch...)
			require.Equal(t, []protocol.Status{
				protocol.StatusOK, protocol.StatusUnavailable, protocol.StatusOK, protocol.StatusUnavailable, protocol.StatusOK,
			}, expectAll(t, c, batch))
			c = s.Dial(t) // and a connection that has not noticed yet
			c.Send(batch[1])
			c.Expect(protocol.OpGet, protocol.StatusUnavailable, 5)
		}
	}
}

// TestJournalFailsAfterAWait: a transaction whose answer has to wait for those before it is answered once, whatever becomes of
// what it wrote.
func TestJournalFailsAfterAWait(t *testing.T) {
	for _, secured := range []bool{false, true} {
		j := &journal{}
		o := nettest.Options{Store: store.Options{Journal: j}, TLS: secured, Config: outputs.Config}
		s := nettest.Start(t, o)
		c := s.Dial(t)
		a, b := []byte("a"), []byte("b")
		require.Equal(t, protocol.StatusOK, c.Do(protocol.Set{Key: a, Value: make([]byte, 1_040_000)}.AppendTo(nil, 1)).Status())
		require.Equal(t, protocol.StatusOK, c.Do(protocol.Set{Key: b, Value: make([]byte, 20_000)}.AppendTo(nil, 1)).Status())
		j.fail()
		get := protocol.TxnOp{Kind: protocol.TxnGet, Key: a}
		batch := [][]byte{
			protocol.Get{Key: b}.AppendTo(nil, 2), // what it holds and what the next one does are more than a client may have
			protocol.Txn{Ops: []protocol.TxnOp{{Kind: protocol.TxnSet, Key: []byte("lost")}, get, get}}.AppendTo(nil, 3),
			ping(4, "x"),
		}
		c.Send(batch...)
		statuses := expectAll(t, c, batch)
		require.Equal(t, []protocol.Status{protocol.StatusOK, protocol.StatusUnavailable}, statuses[:2])
	}
}
