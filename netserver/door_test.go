package netserver_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// echoes is a protocol of its own: a request is ~length:bytes and is answered with =length:bytes, or !status. Some
// bytes mean more.
type echoes struct{}

func (echoes) Name() string { return "echo" }

func (echoes) Open(c *netserver.Client, first []byte) netserver.Talk {
	if first[0] != '~' {
		return nil
	}
	return &echo{client: c}
}

func (echoes) Dismiss(first []byte, why netserver.Dismissal) []byte {
	if first[0] != '~' {
		return nil
	}
	return fmt.Appendf(nil, "!%v %s", why.Loading, why.Message)
}

type echo struct {
	client  *netserver.Client
	refused error // the answer to what has been read away by now; nil: there is none
}

func (e *echo) Answer(o *netserver.Output, p []byte) (used, need int) {
	if e.refused != nil {
		o.Request()
		e.refuse(o, e.refused)
		e.refused = nil
	}
	for used < len(p) && !o.Ended() {
		colon := bytes.IndexByte(p[used:], ':')
		if colon < 0 {
			return used, 0
		}
		size, err := strconv.Atoi(string(p[used+1 : used+colon]))
		if p[used] != '~' || err != nil {
			o.Foreign(p[used:], errors.New("no length"))
			return used, 0
		}
		if need = colon + 1 + size; len(p)-used < need {
			return used, need
		}
		o.Request()
		if err := e.answer(o, p[used+colon+1:used+need]); err != nil && err != netserver.ErrAnswered {
			e.refuse(o, err)
		}
		used, need = used+need, 0
		if o.Full() {
			o.Flush()
		}
	}
	return used, 0
}

func (e *echo) answer(o *netserver.Output, body []byte) error {
	command, key, _ := bytes.Cut(body, []byte(" "))
	switch string(command) {
	case "quit":
		o.End(nil)
	case "set":
		if _, err := e.client.Session().Set(key, nil, store.SetOptions{}); err != nil {
			return err
		}
	}
	if len(body) >= netserver.CopySize {
		if err := o.BeginValue("an echo", len(body), 0); err != nil {
			return err
		}
	}
	o.Buf = fmt.Appendf(o.Buf, "=%d:", len(body))
	o.Value(body)
	return nil
}

func (e *echo) refuse(o *netserver.Output, err error) {
	status := netserver.Failure(err).Status
	o.Refused(status)
	o.Buf = fmt.Appendf(o.Buf, "!%d", status)
}

func (e *echo) Refuse(o *netserver.Output, p []byte, err error) (used, need int) {
	colon := bytes.IndexByte(p, ':')
	size, _ := strconv.Atoi(string(p[1:colon]))
	e.refused = err
	return colon + 1 + size, 0
}

func (e *echo) Unflushed(o *netserver.Output, n int, err error) {
	for range n {
		e.refuse(o, err)
	}
}

func (e *echo) Close() {}

// asked and echoed are a request and its answer.
func asked(body string) []byte  { return fmt.Appendf(nil, "~%d:%s", len(body), body) }
func echoed(body string) string { return fmt.Sprintf("=%d:%s", len(body), body) }

func expectBytes(t *testing.T, c *nettest.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	require.NoError(t, err)
	require.True(t, want == string(got), "%.100q, not %.100q", got, want)
}

// TestDoor: another protocol is spoken beside kv frames, with all that those have: requests cut anywhere, long ones,
// limits, durability, and an orderly end.
func TestDoor(t *testing.T) {
	j := &journal{}
	o := nettest.Options{Store: store.Options{Journal: j}, Config: netserver.Config{
		Doors: []netserver.Door{echoes{}}, Limit: 1 << 20, RequestMemory: 2 << 20, FrameTimeout: time.Second,
	}}
	large := string(make([]byte, 1<<20-100))
	eachTransport(t, o, func(t *testing.T, s *nettest.Server) {
		frames := s.Dial(t)
		frames.Do(ping(1, "kv frames"))

		c := s.Dial(t)
		stream := append(asked("a"), asked("")...)
		for cut := range len(stream) {
			before := s.Stat("bytes_in")
			c.Send(stream[:cut])
			s.Await("bytes_in", before+uint64(cut))
			c.Send(stream[cut:])
			expectBytes(t, c, echoed("a")+echoed(""))
		}
		for range 3 { // what is long, what is over the limit, and what is short, in one
			go c.Write(join([][]byte{asked("before"), asked(large), asked(large + large), asked("after")}))
			expectBytes(t, c, echoed("before")+echoed(large)+fmt.Sprintf("!%d", protocol.StatusTooLarge)+echoed("after"))
		}
		s.AwaitRequests()

		// There is no memory for a second one.
		holding := s.Dial(t)
		before := s.Stat("bytes_in")
		holding.Send(asked(large)[:1_000_000])
		s.Await("bytes_in", before+1_000_000)
		go c.Write(append(asked(large), asked("after")...))
		expectBytes(t, c, fmt.Sprintf("!%d", protocol.StatusOutOfMemory)+echoed("after"))
		require.NoError(t, holding.Close())
		slow := s.Dial(t)
		slow.Send(asked("cut")[:4])
		slow.ExpectClosed()
		s.AwaitLog("too long to arrive", slow.Logged())

		c.Send(asked("one"), asked("quit"), asked("two"))
		expectBytes(t, c, echoed("one")+echoed("quit"))
		c.ExpectClosed()
		wrong := s.Dial(t)
		wrong.Send(asked("one"), []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		expectBytes(t, wrong, echoed("one"))
		wrong.ExpectClosed()
		s.AwaitLog("looks_like=HTTP", wrong.Logged())

		c = s.Dial(t)
		c.Send(asked("x"))
		expectBytes(t, c, echoed("x"))
		doors := make(map[string][]string) // by who is there: of a Unix socket, always the same
		for _, info := range s.Clients() {
			doors[info.Remote] = append(doors[info.Remote], info.Door)
		}
		require.Contains(t, doors[c.Logged()], "echo")
		require.Contains(t, doors[frames.Logged()], "")

		unavailable := s.Stat("refusals_unavailable")
		if unavailable == 0 { // the journal is shared with the next transport
			j.fail()
		}
		c.Send(asked("set k"), asked("x"))
		expectBytes(t, c, fmt.Sprintf("!%d!%d", protocol.StatusUnavailable, protocol.StatusUnavailable))
		require.Equal(t, unavailable+2, s.Stat("refusals_unavailable"))
		c.Send(asked("y"))
		expectBytes(t, c, echoed("y"))
	})
}
