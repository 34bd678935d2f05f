package resp_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

func TestCommandsOverAConnection(t *testing.T) {
	nettest.Each(t, withDoor(netserver.Config{}), func(t *testing.T, s *nettest.Server) {
		c := dial(t, s)
		c.expect(`
			PING => PONG
			PING hello => "hello"
			ECHO x => "x"
			SET a 1 => OK
			GET a => "1"
			GET b => nil
			SET b 1 XX => nil
			SET b 1 NX EX 100 => OK
			SET b 2 NX => nil
			SET b 3 GET => "1"
			TTL b => (-1)
			MGET a nokey b => ["1" nil "3"]
			EXISTS a b nokey a => (3)
			MSET c 1 d 2 => OK
			INCR c => (2)
			APPEND d x => (2)
			DBSIZE => (4)
			TYPE a => string
			DEL a b => (2)
			STRLEN d => (2)
			GETRANGE d 0 0 => "2"
			LCS c d LEN => (1)
			TIME => …
			SELECT 0 => OK
			SELECT 1 => ERR DB index is out of range
			SELECT x => ERR value is not an integer or out of range
			WAIT 0 0 => (0)
			ROLE => ["master" (0) []]
			LASTSAVE => (0)
			SAVE => MISCONF the server has no data folder
			SLOWLOG GET => []
			SLOWLOG LEN => (0)
			FUNCTION FLUSH => OK
			ACL WHOAMI => "default"
			OBJECT ENCODING c => "int"
			MEMORY USAGE c => (42)
			RANDOMKEY => …
			AUTH x => ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
			AUTH default x => OK
			AUTH nobody x => WRONGPASS invalid username-password pair or user is disabled.
			SHUTDOWN nosave save => ERR syntax error
			SHUTDOWN => ERR Errors trying to SHUTDOWN. Check logs.
			FLUSHALL => OK
			DBSIZE => (0)
			RANDOMKEY => nil
			QUIT => OK`)
		c.expectClosed()
	})
}

func TestWhatIsNoCommand(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.expect(`
		NONSENSE a b => ERR unknown command 'NONSENSE', with args beginning with: 'a' 'b' …
		LPUSH list x => ERR unknown command 'LPUSH', with args beginning with: 'list' 'x'; kv does not serve it: there are no lists
		JSON.GET a => ERR unknown command 'JSON.GET', with args beginning with: 'a'; kv does not serve it: there are no modules
		CLUSTER INFO => ERR This instance has cluster support disabled
		CLIENT NONSENSE => ERR unknown subcommand 'NONSENSE'. Try CLIENT HELP.
		CLIENT => ERR wrong number of arguments for 'client' command
		GET => ERR wrong number of arguments for 'get' command
		GET a b => ERR wrong number of arguments for 'get' command
		CLIENT SETNAME => ERR wrong number of arguments for 'client|setname' command
		CONFIG SET maxmemory 1 => ERR CONFIG SET failed (possibly related to argument 'maxmemory') - …`)
	c.send(request("a\r\nb", "c\r\n+OK"))
	assert.Equal(t, "ERR unknown command 'a  b', with args beginning with: 'c  +OK' ", c.next())
	assert.Equal(t, "PONG", c.do("PING"))
	s.AwaitRequests()
	assert.NotZero(t, s.Stat("refusals_bad_request"))
}

func TestInlineCommands(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.send("set a \"x y\"\r\n", "get a\n", "\n", "\r\n", "PING\r\n")
	assert.Equal(t, "OK", c.next())
	assert.Equal(t, `"x y"`, c.next())
	assert.Equal(t, "PONG", c.next())
}

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
			go c.Write([]byte(request("SET", "a", value) + request("GET", "a") + request("GETSET", "a", value) + request("MGET", "a", "a", "nokey") + "PING\r\n"))
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

func TestVersionThree(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.expect(`
		HELLO => ["server" "kv" "version" "7.4.0" "proto" (2) "id" (1) "mode" "standalone" "role" "master" "modules" []]
		HELLO 3 SETNAME me => {"server" "kv" "version" "7.4.0" "proto" (3) "id" (1) "mode" "standalone" "role" "master" "modules" []}
		HELLO 4 => NOPROTO unsupported protocol version
		HELLO x => ERR Protocol version is not an integer or out of range
		HELLO 3 NONSENSE => ERR Syntax error in HELLO option 'NONSENSE'
		CLIENT GETNAME => "me"
		CONFIG GET databases => {"databases" "1"}
		GET nokey => nil
		RESET => RESET
		CLIENT GETNAME => nil
		CONFIG GET databases => ["databases" "1"]`)
}

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
		for _, there := range [][]string{{"SET w 1", "DEL w"}, {"SET w 1", "SET w 2", "FLUSHALL"}, {"SET w 1", "RENAME w v"}, {"SET w 1", "SET w 1 PXAT 1"}} {
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

// TestProtocolsShareTheStore: what is written through one is read through the other, with its version, expiry and history.
func TestProtocolsShareTheStore(t *testing.T) {
	o := withDoor(netserver.Config{})
	o.Store.History = 5
	s := nettest.Start(t, o)
	c, frames := dial(t, s), s.Dial(t)
	c.do("SET a 1 PXAT 99999999999999")
	frames.Send(protocol.Get{Key: []byte("a"), WithMeta: true}.AppendTo(nil, 1))
	g, err := protocol.ParseValue(true, frames.Expect(protocol.OpGet, protocol.StatusOK, 1))
	require.NoError(t, err)
	assert.Equal(t, "1", string(g.Data))
	assert.Equal(t, uint64(99999999999999), g.Meta.Expiry)

	frames.Do(protocol.Set{Key: []byte("a"), Value: []byte("2")}.AppendTo(nil, 2))
	c.expect(`
		GET a => "2"
		TTL a => (-1)
		WATCH a => OK`)
	frames.Do(protocol.Set{Key: []byte("a"), Value: []byte("2")}.AppendTo(nil, 3))
	c.expect(`
		MULTI => OK
		SET a 3 => QUEUED
		EXEC => nil
		SET a 4 => OK`)
	session := s.Store.Session()
	defer session.Close()
	var values []string
	for _, r := range session.History(nil, []byte("a"), 10) {
		values = append(values, string(r.Entry.Value()))
	}
	assert.Equal(t, []string{"4", "2", "2", "1"}, values)
	s.AwaitRequests()
}

// TestKeysAreCounted: as everywhere, by what is done to them, in transactions too.
func TestKeysAreCounted(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	for _, tt := range []struct {
		line                     string
		gets, misses, sets, dels uint64
	}{
		{"SET a 1", 0, 0, 1, 0},
		{"GET a", 1, 0, 0, 0},
		{"MGET a nokey", 2, 1, 0, 0},
		{"EXISTS a nokey nokey", 3, 2, 0, 0},
		{"INCR a", 0, 0, 1, 0},
		{"GETSET a 2", 1, 0, 1, 0},
		{"SET nokey2 2 XX GET", 1, 1, 0, 0},
		{"MSET a 1 b 2", 0, 0, 2, 0},
		{"RENAME b c", 0, 0, 1, 1},
		{"GETDEL c", 1, 0, 0, 1},
		{"DEL a nokey", 0, 0, 0, 2},
		{"TTL a", 1, 1, 0, 0},
		{"MULTI", 0, 0, 0, 0},
		{"SET a 1", 0, 0, 0, 0},
		{"GET a", 0, 0, 0, 0},
		{"MGET a nokey", 0, 0, 0, 0},
		{"DEL a", 0, 0, 0, 0},
		{"EXEC", 3, 1, 1, 1},
	} {
		figures := func() [4]uint64 {
			return [4]uint64{s.Stat("get_ops"), s.Stat("misses"), s.Stat("set_ops"), s.Stat("del_ops")}
		}
		before := figures()
		c.do(tt.line)
		after := figures()
		for i := range after {
			after[i] -= before[i]
		}
		assert.Equal(t, [4]uint64{tt.gets, tt.misses, tt.sets, tt.dels}, after, tt.line)
	}
}

func TestScans(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	want := make(map[string]bool)
	for i := range 1000 {
		key := fmt.Sprint("key:", i)
		c.send(request("SET", key, "v"))
		want[`"`+key+`"`] = true
	}
	for range want {
		require.Equal(t, "OK", c.next())
	}
	for _, more := range []string{"", " COUNT 7", " MATCH *", " TYPE string COUNT 100000"} {
		seen := make(map[string]bool)
		for cursor := "0"; ; {
			answer := strings.NewReplacer("[", "", "]", "").Replace(c.do("SCAN " + cursor + more))
			all := words(answer)
			cursor = strings.Trim(all[0], `"`)
			for _, key := range all[1:] {
				require.False(t, seen[key], "%s came twice", key)
				seen[key] = true
			}
			if cursor == "0" {
				break
			}
		}
		assert.Equal(t, want, seen, more)
	}
	c.expect(`
		SCAN x => ERR invalid cursor
		SCAN 0 COUNT 0 => ERR syntax error
		SCAN 0 COUNT x => ERR value is not an integer or out of range
		SCAN 0 MATCH => ERR syntax error
		SCAN 0 NONSENSE x => ERR syntax error
		SCAN 0 TYPE nonsense => ERR unknown type name 'nonsense'
		SCAN 0 COUNT 100000 TYPE list => ["0" []]
		SCAN 0 COUNT 100000 MATCH nokey* => ["0" []]
		KEYS key:77? => …
		KEYS nokey* => []`)
	assert.Len(t, words(c.do("KEYS *")), 1000)
	assert.Len(t, words(c.do("KEYS key:??")), 90)
}

func TestAnswersThatNobodyWants(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.send(request("CLIENT", "REPLY", "OFF"), request("PING"), request("SET", "a", "1"), request("GET", "a"), request("MULTI"), request("GET", "a"), request("EXEC"),
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

func TestConnectionsAreDescribed(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.expect(`
		CLIENT ID => (1)
		CLIENT SETNAME me => OK
		CLIENT SETINFO LIB-NAME lib => OK
		CLIENT SETINFO LIB-VER 1.2 => OK
		CLIENT SETINFO NONSENSE 1.2 => ERR Unrecognized option 'NONSENSE'
		CLIENT NO-EVICT on => OK
		CLIENT NO-TOUCH off => OK
		CLIENT NO-TOUCH x => ERR syntax error
		WATCH a b => OK
		CLIENT LIST ID x => ERR Invalid client ID
		CLIENT LIST NONSENSE => ERR syntax error
		CLIENT LIST TYPE pubsub => ""
		CLIENT LIST ID 99 => ""`)
	c.send(request("CLIENT", "SETNAME", "a b"))
	assert.Equal(t, "ERR Client names cannot contain spaces, newlines or special characters.", c.next())
	info := c.do("CLIENT INFO")
	for _, part := range []string{"id=1 ", " addr=127.0.0.1:", " name=me ", " watch=2 ", " multi=-1 ", " user=default ", " resp=2 ", " lib-name=lib ", " lib-ver=1.2 ", " cmd=client|info "} {
		assert.Contains(t, info, part)
	}
	d := dial(t, s)
	d.do("PING")
	assert.Equal(t, 2, strings.Count(d.do("CLIENT LIST"), "id="))
}

func TestTheServerIsDescribed(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{Limit: 1 << 20}))
	c := dial(t, s)
	c.do("SET a 1")
	c.do("GET a")
	c.do("GET nokey")
	c.do("SET b 1 EX 100")
	info := c.do("INFO")
	for _, part := range []string{
		"# Server\r\n", "redis_version:7.4.0\r\n", "server_name:kv\r\n", "connected_clients:1\r\n", "keyspace_hits:1\r\n", "keyspace_misses:1\r\n", "db0:keys=2,expires=1,avg_ttl=0\r\n", "role:master\r\n",
		"total_commands_processed:", "used_memory:", "aof_enabled:0", "loading:0",
	} {
		assert.Contains(t, info, part)
	}
	assert.Contains(t, c.do("INFO keyspace"), "# Keyspace")
	assert.NotContains(t, c.do("INFO keyspace"), "# Server")
	c.expect(`
		CONFIG GET proto-max-bulk-len => ["proto-max-bulk-len" "1048576"]
		CONFIG GET MAXMEMORY* => ["maxmemory" "0" "maxmemory-policy" "noeviction"]
		CONFIG GET nonsense => []
		CONFIG SET requirepass => ERR wrong number of arguments for 'config|set' command
		CONFIG SET maxmemory 0 => OK
		CONFIG SET nonsense 0 => ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'
		CONFIG REWRITE => ERR The server is running without a config file
		SET a 1 => OK
		PEXPIREAT a 1 => (1)
		CONFIG RESETSTAT => OK`)
	assert.Contains(t, c.do("INFO stats"), "keyspace_hits:0\r\n")
	assert.Contains(t, c.do("INFO stats"), "expired_keys:0\r\n")
	c.do("SET a 1")
	c.do("EXPIRE a -1")
	assert.Contains(t, c.do("INFO stats"), "expired_keys:1\r\n")
}

func TestCommandsAreDescribed(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{}))
	c := dial(t, s)
	c.expect(`
		COMMAND INFO get nonsense => [["get" (2) [readonly fast] (1) (1) (1) [@string @read @fast] [] [] []] nil]
		COMMAND DOCS get => ["get" ["summary" "Answers a key's value." "since" "1.0.0" "group" "string"]]
		COMMAND DOCS nonsense => []
		COMMAND GETKEYS MSET a 1 b 2 => ["a" "b"]
		COMMAND GETKEYS MSETEX 2 a 1 b 2 EX 10 => ["a" "b"]
		COMMAND GETKEYS LCS a b LEN => ["a" "b"]
		COMMAND GETKEYS OBJECT ENCODING a => ["a"]
		COMMAND GETKEYS PING => ERR The command has no key arguments
		COMMAND GETKEYS NONSENSE => ERR Invalid command specified
		COMMAND GETKEYS MSET a => ERR Invalid number of arguments specified for command
		COMMAND LIST FILTERBY PATTERN get* => …
		COMMAND LIST NONSENSE => ERR syntax error
		COMMAND COUNT => …`)
	assert.True(t, strings.HasPrefix(c.do("COMMAND"), "[["))
	assert.Contains(t, c.do("COMMAND DOCS client"), `"client|id"`)
	assert.Contains(t, c.do("CLIENT HELP"), "SETNAME")
	assert.Contains(t, c.do("OBJECT HELP"), "ENCODING")
}

func TestWithoutTheDoor(t *testing.T) {
	s := nettest.Start(t, nettest.Options{})
	c := dial(t, s)
	c.send(request("PING"))
	c.expectClosed()
	s.AwaitLog("does not speak the kv protocol", "RESP")
}

func TestReadOnlyIsSaid(t *testing.T) {
	o := withDoor(netserver.Config{})
	o.Store.MaxMemory = 64 << 10
	s := nettest.Start(t, o)
	c := dial(t, s)
	c.send(request("SET", "a", strings.Repeat("v", 100_000)))
	assert.Equal(t, "OOM command not allowed: the data take all that the server's --max-memory leaves them: delete keys, or raise it", c.next())
	c.send(request("APPEND", "a", strings.Repeat("v", 100_000)))
	assert.Equal(t, "OOM command not allowed: the data take all that the server's --max-memory leaves them: delete keys, or raise it", c.next())
	c.send(request("MULTI"), request("SET", "b", "1"), request("SET", "a", strings.Repeat("v", 100_000)), request("EXEC"))
	for _, want := range []string{"OK", "QUEUED", "QUEUED", "OOM command not allowed: the data take all that the server's --max-memory leaves them: delete keys, or raise it"} {
		assert.Equal(t, want, c.next())
	}
	assert.Equal(t, "(0)", c.do("EXISTS a b"))
	assert.Equal(t, "(0)", c.do("DEL a"))
}

// TestOneClientTooMany: who is not served is told so in words that clients of Redis know.
func TestOneClientTooMany(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{MaxConnections: 1}))
	c := dial(t, s)
	c.expect(`PING => PONG`)
	other := dial(t, s)
	other.expect(`PING => ERR max number of clients reached`)
	_, err := other.read()
	require.ErrorIs(t, err, io.EOF)
	c.expect(`PING => PONG`)
}
