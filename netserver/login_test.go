package netserver_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// TestGuessing: logins that fail are answered, counted and logged; after the third the connection is closed, whatever was
// sent behind it, and whether or not one was right in between. Nobody else notices.
func TestGuessing(t *testing.T) {
	o := nettest.Options{Config: netserver.Config{Accounts: nettest.Accounts(t, "anna", "rw", "s3cret")}}
	nettest.Each(t, o, func(t *testing.T, s *nettest.Server) {
		anna := s.Dial(t)
		require.Equal(t, protocol.StatusOK, anna.Do(hello("anna", "s3cret")).Status())

		for _, tt := range []struct {
			sent     [][]byte
			statuses []protocol.Status
		}{
			{
				[][]byte{hello("anna", "1"), hello("anna", "2"), hello("anna", "3"), hello("anna", "s3cret"), ping(1, "")},
				[]protocol.Status{protocol.StatusUnauthenticated, protocol.StatusUnauthenticated, protocol.StatusUnauthenticated},
			},
			{
				[][]byte{hello("anna", "1"), hello("bob\nlevel=ERROR", "s3cret"), hello("anna", "s3cret"), ping(1, ""), hello("", "s3cret"), ping(1, "")},
				[]protocol.Status{protocol.StatusUnauthenticated, protocol.StatusUnauthenticated, protocol.StatusOK, protocol.StatusOK, protocol.StatusUnauthenticated},
			},
		} {
			before := s.Stat("login_failures")
			c := s.Dial(t)
			c.Send(tt.sent...)
			require.Equal(t, tt.statuses, expectAll(t, c, tt.sent[:len(tt.statuses)]))
			c.ExpectClosed()
			require.Equal(t, before+3, s.Stat("login_failures"))
			s.AwaitLog("logged in wrongly", "failed=3", c.Logged())
		}
		s.AwaitLog("level=WARN", "a login failed", "user=anna")
		s.AwaitLog(`user="bob\nlevel=ERROR"`)
		for _, line := range s.Log.Lines() {
			require.NotContains(t, line, "s3cret")
		}

		// Where too many answers are delayed already, one guess is all.
		undo := s.DelayNothing()
		c := s.Dial(t)
		require.Equal(t, protocol.StatusUnauthenticated, c.Do(hello("anna", "1")).Status())
		c.ExpectClosed()
		require.Equal(t, protocol.StatusOK, s.Dial(t).Do(hello("anna", "s3cret")).Status())
		undo()

		// A HELLO that names nobody is no guess.
		nobody := s.Dial(t)
		for range 2 * 3 {
			require.Equal(t, protocol.StatusUnauthenticated, nobody.Do(hello("", "")).Status())
		}
		require.Equal(t, protocol.StatusOK, nobody.Do(hello("anna", "s3cret")).Status())
		anna.Do(ping(1, "still here"))
	})
}

// TestHandshakeFails: who does not speak TLS where it is spoken is closed, counted and logged; others go on.
func TestHandshakeFails(t *testing.T) {
	s := nettest.Start(t, nettest.Options{TLS: true})
	c := s.Dial(t)
	for i, sent := range [][]byte{ping(1, "plain"), []byte("GET / HTTP/1.1\r\n\r\n"), nil} {
		nc, err := net.Dial("tcp", s.Addr)
		require.NoError(t, err)
		_, err = nc.Write(sent)
		require.NoError(t, err)
		require.NoError(t, nc.(*net.TCPConn).CloseWrite())
		io.Copy(io.Discard, nc) // to the end, or a reset: what it sent was not read
		require.NoError(t, nc.Close())
		s.Await("handshake_failures", uint64(i+1))
	}
	s.AwaitLog("level=WARN", "TLS handshake failed")
	require.EqualValues(t, 3, s.Stat("handshake_failures"))
	c.Do(ping(1, "still here"))
}

// TestLogInInTime: where there are users, a connection that nobody has logged in on ends after FrameTimeout, whatever it
// does. One that somebody has may then stay as long as it likes.
func TestLogInInTime(t *testing.T) {
	// Long enough for those who are meant to log in, on a crowded machine too.
	o := nettest.Options{Config: netserver.Config{FrameTimeout: 2 * time.Second, MaxConnections: 5, Accounts: nettest.Accounts(t, "anna", "rw", "s3cret")}}
	eachTransport(t, o, func(t *testing.T, s *nettest.Server) {
		anna := s.Dial(t)
		require.Equal(t, protocol.StatusOK, anna.Do(hello("anna", "s3cret")).Status())

		silent, busy, wrong, out := s.Dial(t), s.Dial(t), s.Dial(t), s.Dial(t)
		require.Equal(t, protocol.StatusOK, out.Do(hello("anna", "s3cret")).Status())
		wrong.Send(hello("anna", "wrong"))
		out.Send(hello("", "")) // what was given is taken away
		go func() {
			for {
				if _, err := busy.Conn.Write(ping(1, "")); err != nil {
					return
				}
			}
		}()
		silent.ExpectClosed()
		wrong.Expect(protocol.OpHello, protocol.StatusUnauthenticated, 1)
		wrong.ExpectClosed()
		out.Expect(protocol.OpHello, protocol.StatusUnauthenticated, 1)
		out.ExpectClosed()
		for {
			f, err := busy.ReadFrame()
			if err != nil {
				break
			}
			require.Equal(t, protocol.StatusUnauthenticated, f.Status())
		}
		for _, c := range []*nettest.Conn{silent, busy, wrong, out} {
			s.AwaitLog("did not log in", c.Logged())
		}
		require.Equal(t, protocol.StatusOK, anna.Do(ping(1, "")).Status())
	})

	o.Config.Accounts, o.Config.FrameTimeout = nil, time.Second
	nettest.Each(t, o, func(t *testing.T, s *nettest.Server) {
		silent, other := s.Dial(t), s.Dial(t)
		other.Send(ping(1, "x")[:5])
		other.ExpectClosed() // FrameTimeout has passed
		silent.Do(ping(1, "nobody has to log in"))
	})
}

// TestBeforeLogin: of who has not logged in, no more than a small frame is kept; the rest is read away, and answered as it
// would be if it were small.
func TestBeforeLogin(t *testing.T) {
	o := nettest.Options{Config: netserver.Config{Limit: 1 << 20, Accounts: nettest.Accounts(t, "anna", "rw", "s3cret")}}
	eachTransport(t, o, func(t *testing.T, s *nettest.Server) {
		large := make([]byte, 1<<20-100)
		reserved, unknown := ping(4, string(large)), ping(5, string(large))
		reserved[7] = 1
		unknown[4] = 0x70
		requests := [][]byte{
			ping(1, string(large[:5000])),
			ping(2, string(large)),
			protocol.Set{Key: []byte("k"), Value: large}.AppendTo(nil, 3),
			reserved,
			unknown,
			protocol.Hello{Version: 1, User: []byte("anna"), Secret: large[:5000]}.AppendTo(nil, 6),
			ping(7, string(make([]byte, 1<<20))),
			hello("anna", "s3cret"),
			protocol.Set{Key: []byte("k"), Value: large}.AppendTo(nil, 9),
			ping(10, string(make([]byte, 1<<20))),
		}
		statuses := []protocol.Status{
			protocol.StatusUnauthenticated, protocol.StatusUnauthenticated, protocol.StatusUnauthenticated,
			protocol.StatusBadRequest, protocol.StatusUnknownOpcode, protocol.StatusTooLarge, protocol.StatusTooLarge,
			protocol.StatusOK, protocol.StatusOK, protocol.StatusTooLarge,
		}
		c := s.Dial(t)
		sending := make(chan struct{})
		go func() {
			defer close(sending)
			c.Conn.Write(join(requests))
		}()
		require.Equal(t, statuses, expectAll(t, c, requests))
		<-sending

		// Nothing is held for one who stops within a large frame.
		c = s.Dial(t)
		before := s.Stat("bytes_in")
		c.Send(requests[2][:900_000])
		s.Await("bytes_in", before+900_000)
		require.Zero(t, s.Stat("request_memory_bytes"))
	})
}

// TestRefusedUnread: a frame that is refused for its header is read away, whoever sends it and however long it is:
// nothing of it is kept.
func TestRefusedUnread(t *testing.T) {
	o := nettest.Options{Config: netserver.Config{Accounts: nettest.Accounts(t, "anna", "ro", "s3cret")}}
	large := make([]byte, 1<<20)
	reserved, unknown := ping(2, string(large)), ping(3, string(large))
	reserved[7] = 1
	unknown[4] = 0x70
	flags := ping(4, string(large))
	flags[5] = 0x80
	eachTransport(t, o, func(t *testing.T, s *nettest.Server) {
		for _, tt := range []struct {
			request []byte
			status  protocol.Status
		}{
			{protocol.Set{Key: []byte("k"), Value: large}.AppendTo(nil, 1), protocol.StatusForbidden},
			{protocol.AppendMSet(nil, 1, protocol.Pair{Value: large}), protocol.StatusForbidden},
			{reserved, protocol.StatusBadRequest}, {unknown, protocol.StatusUnknownOpcode}, {flags, protocol.StatusBadRequest},
		} {
			anna := s.Dial(t)
			require.Equal(t, protocol.StatusOK, anna.Do(hello("anna", "s3cret")).Status())
			for _, cut := range []int{10, 13, 1000, 40_000, 1 << 20} {
				before := s.Stat("bytes_in")
				anna.Send(tt.request[:cut])
				s.Await("bytes_in", before+uint64(cut))
				require.Zero(t, s.Stat("request_memory_bytes"), "%d bytes of %v", cut, tt.request[4:6])
				anna.Send(tt.request[cut:], ping(9, "after"))
				require.Equal(t, tt.status, anna.Next().Status())
				anna.Expect(protocol.OpPing, protocol.StatusOK, 9)
			}
		}
	})
}

// TestUsersReplaced: who was removed, or has another role or secret, loses his connections, whatever these are doing, and
// what he sends is not answered any more. Others keep theirs.
func TestUsersReplaced(t *testing.T) {
	for _, secured := range []bool{false, true} {
		a := nettest.Accounts(t, "anna", "rw", "one", "bob", "rw", "two", "carl", "rw", "three", "dora", "ro", "four")
		j := &journal{}
		o := nettest.Options{TLS: secured, Config: netserver.Config{Accounts: a}}
		o.Store.Journal = j
		s := nettest.Start(t, o)
		login := func(user, secret string) *nettest.Conn {
			c := s.Dial(t)
			require.Equal(t, protocol.StatusOK, c.Do(hello(user, secret)).Status())
			return c
		}
		dora := login("dora", "four")
		idle, within, further, busy := login("anna", "one"), login("anna", "one"), login("anna", "one"), login("anna", "one")
		role, secret := login("bob", "two"), login("carl", "three")
		set := protocol.Set{Key: []byte("k")}.AppendTo(nil, 1)
		before := s.Stat("bytes_in")
		within.Send(set[:5])
		further.Send(set[:15])
		release := j.hold()
		busy.Send(set)
		s.Await("bytes_in", before+5+15+uint64(len(set)))

		require.NoError(t, a.Load(strings.NewReader(nettest.Users(t, "bob", "ro", "two", "carl", "rw", "other", "dora", "ro", "four", "eve", "rw", "five"))))
		busy.Send(set)
		release()
		further.Write(set[15:]) // it may be closed already
		for _, c := range []*nettest.Conn{idle, within, further, role, secret} {
			c.ExpectClosed()
		}
		busy.Expect(protocol.OpSet, protocol.StatusOK, 1) // of before
		busy.ExpectClosed()
		s.AwaitLog("closing a user's connection", "user=anna", idle.Logged())
		require.EqualValues(t, 1, s.Stat("set_ops"))
		require.Equal(t, protocol.StatusOK, dora.Do(ping(1, "")).Status())
		s.AwaitConnections(1)

		// A file that is refused changes nothing.
		require.Error(t, a.Load(strings.NewReader("# nobody\n")))
		require.Equal(t, protocol.StatusOK, dora.Do(ping(1, "")).Status())
	}
}
