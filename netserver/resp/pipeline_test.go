package resp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
)

// TestPipelines: what comes together, or byte by byte, is answered in order.
func TestPipelines(t *testing.T) {
	nettest.Each(t, withDoor(netserver.Config{}), func(t *testing.T, s *nettest.Server) {
		c := dial(t, s)
		for round := range 3 {
			var all strings.Builder
			for i := range 500 {
				all.WriteString(request("SET", fmt.Sprint("key", i), fmt.Sprintf("value%d%d", i, round)))
				all.WriteString(request("GET", fmt.Sprint("key", i)))
			}
			c.send(all.String())
			for i := range 500 {
				require.Equal(t, "OK", c.next())
				require.Equal(t, fmt.Sprintf(`"value%d%d"`, i, round), c.next())
			}
		}
		c.SendSlowly([]byte(request("SET", "a", "b") + request("MGET", "a", "key1") + "PING\r\n"))
		assert.Equal(t, "OK", c.next())
		assert.Equal(t, `["b" "value12"]`, c.next())
		assert.Equal(t, "PONG", c.next())
	})
}

// TestGetsThatComeTogether: GETs that are looked up side by side are answered as they would be one by one, whatever
// lies behind their keys, and counted as often.
func TestGetsThatComeTogether(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.do("SET short value")
	c.do("SET expiring value EX 60")
	c.do("SET long " + strings.Repeat("x", netserver.CopySize-1))
	c.do("SET large " + strings.Repeat("x", netserver.CopySize))
	keys := []string{"short", "expiring", "absent", "long", "large"}
	one := map[string]string{}
	for _, k := range keys {
		one[k] = c.do("GET " + k)
	}
	for n := range 40 {
		var all strings.Builder
		var asked []string
		misses := uint64(0)
		for i := range n {
			k := keys[i*(n+3)/7%len(keys)]
			all.WriteString(request("get", k))
			if asked = append(asked, k); k == "absent" {
				misses++
			}
		}
		before := [2]uint64{s.Stat("get_ops"), s.Stat("misses")}
		c.send(all.String())
		for _, k := range asked {
			require.Equal(t, one[k], c.next())
		}
		require.Equal(t, [2]uint64{before[0] + uint64(n), before[1] + misses}, [2]uint64{s.Stat("get_ops"), s.Stat("misses")})
		c.send(request("multi") + all.String() + request("exec")) // these are queued
		require.Equal(t, "OK", c.next())
		for range asked {
			require.Equal(t, "QUEUED", c.next())
		}
		list := make([]string, n)
		for i, k := range asked {
			list[i] = one[k]
		}
		require.Equal(t, "["+strings.Join(list, " ")+"]", c.next())
	}
}

func TestLongValuesAndLists(t *testing.T) {
	nettest.Each(t, withDoor(netserver.Config{}), func(t *testing.T, s *nettest.Server) {
		c := dial(t, s)
		for _, n := range []int{0, 1, 16<<10 - 1, 16 << 10, 100_000, 3 << 20} {
			value := strings.Repeat("v", n)
			// A Unix socket holds less of the answers than is sent meanwhile.
			go c.Write([]byte(request("SET", "a", value) + request("GET", "a") + request("GETSET", "a", value) +
				request("MGET", "a", "a", "nokey") + "PING\r\n"))
			require.Equal(t, "OK", c.next())
			require.Equal(t, `"`+value+`"`, c.next())
			require.Equal(t, `"`+value+`"`, c.next())
			require.Equal(t, `["`+value+`" "`+value+`" nil]`, c.next())
			require.Equal(t, "PONG", c.next())
			c.send(request("MULTI"), request("GET", "a"), request("STRLEN", "a"), request("EXEC"))
			for _, want := range []string{"OK", "QUEUED", "QUEUED", fmt.Sprintf(`["%s" (%d)]`, value, n)} {
				require.Equal(t, want, c.next())
			}
		}
		many := []string{"MSET"}
		for i := range 5000 {
			many = append(many, fmt.Sprint("key:", i), "v")
		}
		c.send(request(many...))
		require.Equal(t, "OK", c.next())
		get := []string{"MGET"}
		for i := range 5000 {
			get = append(get, fmt.Sprint("key:", i))
		}
		c.send(request(get...))
		require.Equal(t, "["+strings.TrimSuffix(strings.Repeat(`"v" `, 5000), " ")+"]", c.next())
		require.Equal(t, "(5001)", c.do("DBSIZE"))
		get[0] = "DEL"
		c.send(request(get...))
		require.Equal(t, "(5000)", c.next())
	})
}

func TestAnswersThatNobodyWants(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.send(request("CLIENT", "REPLY", "OFF"), request("PING"), request("SET", "a", "1"), request("GET", "a"),
		request("MULTI"), request("GET", "a"), request("EXEC"),
		request("SET", "long", strings.Repeat("v", 100_000)), request("GET", "long"), request("NONSENSE"), request("CLIENT", "REPLY", "ON"), request("GET", "a"))
	assert.Equal(t, "OK", c.next())
	assert.Equal(t, `"1"`, c.next())
	c.send(request("CLIENT", "REPLY", "SKIP"), request("PING"), request("ECHO", "x"))
	assert.Equal(t, `"x"`, c.next())
	assert.Equal(t, "ERR syntax error", c.do("CLIENT REPLY NONSENSE"))
	c.expect(`
		MULTI => OK
		CLIENT REPLY ON => ERR Command 'client|reply' not allowed inside a transaction
		EXEC => EXECABORT Transaction discarded because of previous errors.`)
}
