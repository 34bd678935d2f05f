package resp_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/store"
)

// TestAnswersThatAreTooLong: what a client may not hold until it reads it is refused before anything is done.
func TestAnswersThatAreTooLong(t *testing.T) {
	nettest.Each(t, withDoor(netserver.Config{ClientOutput: 64 << 10}), func(t *testing.T, s *nettest.Server) {
		c := dial(t, s)
		value := strings.Repeat("v", 40_000)
		c.send(request("MSET", "a", value), request("SET", "b", value), request("SET", "c", "1"))
		for range 3 {
			require.Equal(t, "OK", c.next())
		}
		c.send(request("PING"), request("MGET", "a", "b"), request("PING"))
		require.Equal(t, "PONG", c.next())
		require.Contains(t, c.next(), "ERR the answer to mget would take")
		require.Equal(t, "PONG", c.next())
		c.send(request("MULTI"), request("GET", "a"), request("INCR", "c"), request("GETDEL", "b"), request("EXEC"))
		for _, want := range []string{"OK", "QUEUED", "QUEUED", "QUEUED"} {
			require.Equal(t, want, c.next())
		}
		require.Contains(t, c.next(), "ERR the answer to exec would take")
		require.Equal(t, `"1"`, c.do("GET c"), "nothing of it was done")
		require.Equal(t, "(2)", c.do("EXISTS a b"))

		// Requests just within the limit are answered, behind the answers before them.
		for range 3 {
			c.send(request("GET", "a"), request("SET", "a", value, "GET"), request("MULTI"), request("GET", "a"), request("EXEC"))
		}
		for range 3 {
			for _, want := range []string{`"` + value + `"`, `"` + value + `"`, "OK", "QUEUED", `["` + value + `"]`} {
				require.Equal(t, want, c.next())
			}
		}
	})
}

// broken is a journal that loses what comes after its first writes.
type broken struct{ last, good atomic.Uint64 }

func (*broken) Replay(_, _ func([]*store.Entry)) (uint64, error) { return 0, nil }
func (*broken) Expect() int64                                    { return 0 }
func (*broken) Admit(int64) error                                { return nil }
func (j *broken) Durable() uint64                                { return min(j.last.Load(), j.good.Load()) }

func (j *broken) Append(floor uint64, _ []*store.Entry) (uint64, error) {
	for {
		last := j.last.Load()
		if next := max(last, floor) + 1; j.last.CompareAndSwap(last, next) {
			return next, nil
		}
	}
}

func (j *broken) Wait(version uint64) error {
	if version > j.good.Load() {
		return fmt.Errorf("the disk failed: %w", store.ErrReadOnly)
	}
	return nil
}

// TestAnswersThatCantBeKept: if the log fails, each request whose answer tells of what may be lost has an error, and only one.
func TestAnswersThatCantBeKept(t *testing.T) {
	j := new(broken)
	j.good.Store(2)
	o := withDoor(netserver.Config{})
	o.Store.Journal = j
	s := nettest.Start(t, o)
	c := dial(t, s)
	long := strings.Repeat("v", 100_000)
	c.expect(`
		SET a 1 => OK
		SET b 2 => OK`)
	c.send(request("GET", "a"), request("SET", "c", "3"), request("GET", "b"), request("NONSENSE"))
	for range 4 {
		assert.Equal(t, "MISCONF the disk failed: read-only", c.next())
	}
	// From now on each answers for itself.
	c.send(request("GET", "a"), request("MULTI"), request("SET", "a", "4"), request("GET", "b"), request("EXEC"),
		request("GET", "b"), request("MSET", "d", long), request("GET", "d"), request("MGET", "b", "d"), request("PING"))
	for _, want := range []string{`"1"`, "OK", "QUEUED", "QUEUED", "MISCONF the disk failed: read-only",
		`"2"`, "MISCONF the disk failed: read-only", "MISCONF the disk failed: read-only", "MISCONF the disk failed: read-only", "PONG"} {
		assert.Equal(t, want, c.next())
	}
}
