package resp_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
)

func TestHostileLengths(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{Limit: 1 << 20, RequestMemory: 4 << 20}))
	for _, c := range []struct{ in, want string }{
		{"*1\r\n$2147483647\r\n", "invalid bulk length"},
		{"*1\r\n$-2147483648\r\n", "invalid bulk length"},
		{"*2\r\n$3\r\nGET\r\n$1048577\r\n", "invalid bulk length"},
		{"*2147483648\r\n", "invalid multibulk length"},
		{"*1\r\nGET\r\n", "expected '$', got 'G'"},
		{"*" + strings.Repeat("9", 70_000), "too big mbulk count string"},
		{"*1\r\n$" + strings.Repeat("9", 70_000), "too big bulk count string"},
		{strings.Repeat("a", 70_000), "too big inline request"},
		{"SET \"a\r\n", "unbalanced quotes in request"},
	} {
		d := dial(t, s)
		d.send(request("PING"), c.in)
		assert.Equal(t, "PONG", d.next(), "%.30q", c.in)
		assert.Equal(t, "ERR Protocol error: "+c.want, d.next(), "%.30q", c.in)
		d.expectClosed()
	}
	// What is only claimed takes nothing, and nobody else is refused for it.
	for _, claim := range []string{"*2147483647\r\n", "*1000000\r\n$3\r\nDEL\r\n", "*2\r\n$3\r\nGET\r\n$1048576\r\n"} {
		d := dial(t, s)
		d.send(request("PING"), claim)
		assert.Equal(t, "PONG", d.next())
	}
	s.AwaitRequests()
	assert.Less(t, s.Stat("request_memory_bytes"), uint64(100_000))
}

// TestRequestsThatAreTooLong are read away as they come, and answered when they are over.
func TestRequestsThatAreTooLong(t *testing.T) {
	nettest.Each(t, withDoor(netserver.Config{Limit: 256 << 10, RequestMemory: 64 << 20}), func(t *testing.T, s *nettest.Server) {
		c := dial(t, s)
		value := strings.Repeat("v", 100_000)
		for range 3 {
			c.send(request("MSET", "a", value, "b", value, "c", value, "d", value), request("PING"))
			assert.Contains(t, c.next(), "ERR ")
			assert.Equal(t, "PONG", c.next())
		}
		many := []string{"DEL"}
		for i := range 100_000 {
			many = append(many, fmt.Sprint("key", i))
		}
		c.send(request(many...), request("PING"))
		assert.Contains(t, c.next(), "ERR ")
		assert.Equal(t, "PONG", c.next())
		assert.Equal(t, "(0)", c.do("EXISTS a b c d"))
		c.send("MSET a \"", strings.Repeat("x", 60_000), "\"\r\n", request("PING"))
		assert.Equal(t, "OK", c.next())
		assert.Equal(t, "PONG", c.next())
	})
}

// TestRequestsThatThereIsNoMemoryFor are read away, too, whatever they are: large, or of many arguments.
func TestRequestsThatThereIsNoMemoryFor(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{Limit: 1 << 20, RequestMemory: 2 << 20}))
	c := dial(t, s)
	many := []string{"DEL"}
	for range 50_000 {
		many = append(many, "k")
	}
	c.send(request(many...), request("PING"))
	assert.Contains(t, c.next(), "OOM ")
	assert.Equal(t, "PONG", c.next())

	// Some of several large ones that come at a time.
	var clients []*client
	for range 5 {
		d := dial(t, s)
		d.send("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000000\r\n", strings.Repeat("v", 600_000))
		clients = append(clients, d)
	}
	s.Await("bytes_in", 3_000_000)
	var answers []string
	for _, d := range clients {
		d.send(strings.Repeat("v", 400_000), "\r\n", request("PING"))
		answers = append(answers, d.next())
		require.Equal(t, "PONG", d.next())
	}
	assert.Contains(t, answers, "OK")
	assert.Contains(t, answers, "OOM command not allowed: no memory for a request of this size now")

	// And what a short one would make.
	c.send(request("SETRANGE", "b", "1000000", "x"), request("SETRANGE", "b", "10", "x"),
		request("SETBIT", "c", "8000000", "1"), request("PING"))
	for _, want := range []string{"(1000001)", "(1000001)", "(0)", "PONG"} {
		assert.Equal(t, want, c.next())
	}
	small := nettest.Start(t, withDoor(netserver.Config{Limit: 1 << 20, RequestMemory: 1 << 20}))
	c = dial(t, small)
	c.send(request("SETRANGE", "b", "600000", "x"), request("GET", "b"), request("PING"))
	for _, want := range []string{"(600001)", `"` + strings.Repeat("\x00", 600_000) + `x"`, "PONG"} {
		assert.Equal(t, want, c.next())
	}
	small.AwaitRequests()
	assert.Zero(t, small.Stat("request_memory_bytes"))
}

func TestLogin(t *testing.T) {
	nettest.Each(t, withDoor(netserver.Config{Accounts: nettest.Accounts(t, "anna", "rw", "s3cret", "ron", "ro", "t0ken")}), func(t *testing.T, s *nettest.Server) {
		c := dial(t, s)
		c.expect(`
			PING => NOAUTH Authentication required.
			GET a => NOAUTH Authentication required.
			NONSENSE => NOAUTH Authentication required.
			MULTI => NOAUTH Authentication required.
			HELLO => NOAUTH HELLO must be called with the client already authenticated, …
			RESET => RESET
			AUTH anna s3cret => OK
			ACL WHOAMI => "anna"
			SET a 1 => OK
			SHUTDOWN => NOPERM User anna has no permissions to run the 'shutdown' command
			HELLO 3 AUTH ron t0ken => {"server" …
			ACL WHOAMI => "ron"
			GET a => "1"
			CONFIG GET databases => {"databases" "1"}
			SET a 2 => NOPERM User ron has no permissions to run the 'set' command
			GETEX a => NOPERM User ron has no permissions to run the 'getex' command
			FLUSHALL => NOPERM User ron has no permissions to run the 'flushall' command
			SHUTDOWN => NOPERM User ron has no permissions to run the 'shutdown' command
			MULTI => OK
			GET a => QUEUED
			DEL a => NOPERM User ron has no permissions to run the 'del' command
			EXEC => EXECABORT Transaction discarded because of previous errors.
			AUTH anna wrong => WRONGPASS invalid username-password pair or user is disabled.
			GET a => NOAUTH Authentication required.
			AUTH ron t0ken => OK
			RESET => RESET
			PING => NOAUTH Authentication required.`)
		// Pipelined behind the login.
		c.send(request("AUTH", "anna", "s3cret"), request("SET", "a", strings.Repeat("v", 20_000)), request("PING"))
		for _, want := range []string{"OK", "OK", "PONG"} {
			assert.Equal(t, want, c.next())
		}
	})
}

func TestGuessing(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{Accounts: nettest.Accounts(t, "anna", "rw", "s3cret")}))
	c := dial(t, s)
	wrong := "WRONGPASS invalid username-password pair or user is disabled."
	assert.Equal(t, wrong, c.do("AUTH anna wrong"))
	assert.Equal(t, wrong, c.do("AUTH wrong"))
	assert.Equal(t, wrong, c.do("HELLO 3 AUTH bob s3cret"))
	c.expectClosed()
	assert.EqualValues(t, 3, s.Stat("login_failures"))
	s.AwaitLog("a login failed", "user=anna")
	s.AwaitLog("logged in wrongly")
}

func TestWhoHasNotLoggedInGetsLittle(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{Accounts: nettest.Accounts(t, "anna", "rw", "s3cret")}))
	for _, c := range []struct{ in, want string }{
		{"*11\r\n", "unauthenticated multibulk length"},
		{"*1000000\r\n", "unauthenticated multibulk length"},
		{"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "unauthenticated bulk length"},
		{"*1\r\n$2147483647\r\n", "invalid bulk length"},
	} {
		d := dial(t, s)
		d.send(c.in)
		assert.Equal(t, "ERR Protocol error: "+c.want, d.next(), c.in)
		d.expectClosed()
	}
}

func TestWhoNeverLogsInIsClosed(t *testing.T) {
	s := nettest.Start(t, withDoor(netserver.Config{FrameTimeout: 300 * time.Millisecond,
		Accounts: nettest.Accounts(t, "anna", "rw", "s3cret")}))
	silent, asking := dial(t, s), dial(t, s)
	silent.send("*2\r\n")
	for { // each request behind the answer of the one before: it is never silent
		if _, err := asking.Write([]byte(request("PING"))); err != nil {
			break
		}
		answer, err := asking.read()
		if err != nil {
			break
		}
		require.Equal(t, "NOAUTH Authentication required.", answer)
	}
	silent.expectClosed()
	s.AwaitLog("did not log in")
}

// TestIdleConnections: who has sent a part of a request is waited for as long as --frame-timeout says; who has sent
// none, for ever.
func TestIdleConnections(t *testing.T) {
	nettest.Each(t, withDoor(netserver.Config{FrameTimeout: 600 * time.Millisecond}), func(t *testing.T, s *nettest.Server) {
		idle, slow, later := dial(t, s), dial(t, s), dial(t, s)
		idle.expect(`
			SET a 1 => OK
			NONSENSE => ERR unknown command…`)
		for _, c := range []*client{slow, later} { // one after the other: idle has waited for longer than either
			c.send(request("PING"), "*2\r\n$3\r\nGET")
			require.Equal(t, "PONG", c.next())
			c.expectClosed()
			s.AwaitLog("closing a slow connection")
		}
		require.Equal(t, `"1"`, idle.do("GET a"))
	})
}

// TestWebPages: a browser can be made to send a request here, with a body that its page has made up.
func TestWebPages(t *testing.T) {
	for _, in := range []string{
		"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET a 1\r\n",
		"GET /?a HTTP/1.1\r\n",
		"PUT /x HTTP/1.0\r\n",
		"Host: localhost:7070\r\n",
		"HOST:\r\n",
		"post x\r\n",
	} {
		s := nettest.Start(t, withDoor(netserver.Config{}))
		c := dial(t, s)
		c.send(in, "SET a 1\r\n")
		c.expectClosed()
		s.AwaitLog("level=WARN", "does not speak", "an HTTP request")
		assert.EqualValues(t, 0, s.Stat("keys"), in)
	}
}
