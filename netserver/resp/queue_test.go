package resp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

func TestTransactions(t *testing.T) {
	nettest.Each(t, withDoor(netserver.Config{}), func(t *testing.T, s *nettest.Server) {
		c, other := dial(t, s), dial(t, s)
		c.expect(`
			EXEC => ERR EXEC without MULTI
			DISCARD => ERR DISCARD without MULTI
			MULTI => OK
			EXEC => []
			SET s text => OK
			MULTI => OK
			SET a 1 => QUEUED
			INCR a => QUEUED
			INCR s => QUEUED
			GET a => QUEUED
			PING => QUEUED
			DBSIZE => QUEUED
			CLIENT GETNAME => QUEUED
			EXEC => [OK (2) ERR value is not an integer or out of range "2" PONG (2) nil]
			MULTI => OK
			SET a 9 => QUEUED
			EXEC now => EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command
			EXEC => ERR EXEC without MULTI
			EXEC now => ERR wrong number of arguments for 'exec' command
			MULTI => OK
			SET a 9 => QUEUED
			NONSENSE => ERR unknown command 'NONSENSE', with args beginning with: …
			SET a 10 => QUEUED
			EXEC => EXECABORT Transaction discarded because of previous errors.
			GET a => "2"
			MULTI => OK
			MULTI => ERR Command 'multi' not allowed inside a transaction
			WATCH a => ERR Command 'watch' not allowed inside a transaction
			FLUSHALL => ERR Command 'flushall' not allowed inside a transaction
			DISCARD => OK
			WATCH a b => OK
			UNWATCH => OK
			NONSENSE => ERR unknown command 'NONSENSE', with args beginning with: …
			MULTI => OK
			SET a 3 => QUEUED
			EXEC => [OK]`)
		for _, change := range []string{"SET a 7", "DEL a", "EXPIRE a 100", "INCR b", "FLUSHALL", "APPEND a x", "RENAME a c"} {
			c.do("DEL b")
			c.do("SET a 3")
			c.do("WATCH a b")
			other.do(change)
			c.expect(`
				MULTI => OK
				SET x 1 => QUEUED
				EXEC => nil
				EXISTS x => (0)`)
		}
		for _, there := range [][]string{{"SET w 1", "DEL w"}, {"SET w 1", "SET w 2", "FLUSHALL"},
			{"SET w 1", "RENAME w v"}, {"SET w 1", "SET w 1 PXAT 1"}} {
			c.expect(`
				WATCH w => OK
				MULTI => OK
				SET y 1 => QUEUED
				EXEC => [OK]
				WATCH w => OK`)
			for _, change := range there {
				other.do(change)
			}
			c.expect(`
				EXISTS w => (0)
				MULTI => OK
				SET x 1 => QUEUED
				EXEC => nil
				EXISTS x => (0)`)
		}
		c.expect(`
			SET a 1 => OK
			WATCH a a => OK
			MULTI => OK
			INCR a => QUEUED
			EXEC => [(2)]
			WATCH a => OK
			SET a 5 => OK
			MULTI => OK
			DISCARD => OK
			MULTI => OK
			INCR a => QUEUED
			EXEC => [(6)]`)
	})
}

// TestATransactionIsOneInstant: nobody sees a part of one, whoever looks.
func TestATransactionIsOneInstant(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	w, r, frames := dial(t, s), dial(t, s), s.Dial(t)
	w.do("MSET a 0 b 0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			w.send(request("MULTI"), request("INCR", "a"), request("INCR", "b"), request("EXEC"))
			for range 3 {
				if _, err := w.read(); err != nil {
					return
				}
			}
			if got, err := w.read(); err != nil || got != fmt.Sprintf("[(%d) (%d)]", i+1, i+1) {
				return
			}
		}
	}()
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
		}
		values := words(strings.Trim(r.do("MGET a b"), "[]"))
		require.Equal(t, values[0], values[1])
		frames.Send(protocol.AppendKeys(nil, protocol.OpMGet, 0, 1, []byte("a"), []byte("b")))
		both, err := protocol.ParseValues(nil, false, frames.Expect(protocol.OpMGet, protocol.StatusOK, 1))
		require.NoError(t, err)
		require.Equal(t, both[0].Data, both[1].Data)
	}
	assert.Equal(t, `["300" "300"]`, r.do("MGET a b"))
}
