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
