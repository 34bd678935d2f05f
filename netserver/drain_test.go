package netserver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/protocol"
)

// word is what a client has been told of a request.
type word string

const (
	none    word = "nothing" // the connection was closed
	goodbye word = "goodbye" // it was, after a goodbye
	refused word = "refused, and nothing was applied"
	done    word = "done"
)

// setOf is a SET of a key of its own.
func setOf(id uint32) []byte {
	return protocol.Set{Key: fmt.Appendf(nil, "k%d", id)}.AppendTo(nil, id)
}

// applied reports whether the SET with this id was.
func applied(s *nettest.Server, id uint32) bool {
	session := s.Store.Session()
	defer session.Close()
	return session.Get(fmt.Appendf(nil, "k%d", id)) != nil
}

// greet says HELLO; who asks is told goodbye.
func greet(c *nettest.Conn, asks bool) {
	c.Send(protocol.Hello{Version: protocol.Version, Goodbye: asks}.AppendTo(nil, 0))
	c.Expect(protocol.OpHello, protocol.StatusOK, 0)
}

// nextWord reads what is answered to the next request, which is the one with this id; or, in the place of that, how the
// connection ends.
func nextWord(t *testing.T, c *nettest.Conn, id uint32) word {
	f, err := c.ReadFrame()
	switch {
	case err != nil:
		return none
	case f.Opcode == 0:
		require.Equal(t, protocol.StatusUnavailable, f.Status())
		c.ExpectClosed()
		return goodbye
	}
	require.Equal(t, id, f.ID)
	switch f.Status() {
	case protocol.StatusOK:
		return done
	case protocol.StatusUnavailable:
		require.Contains(t, string(f.Body), "nothing was applied")
		return refused
	}
	require.Equal(t, protocol.StatusMoved, f.Status(), "%q", f.Body)
	return refused
}

// TestNoRequestEndsWithoutAWord: who has 64 requests under way all the time, until one is refused, is told of each what
// has become of it when the server ends: it is done, or it was not applied. Who has not asked for a goodbye, and gets
// no processor for a tenth of a second, would be taken for one who has nothing to ask: here the server waits for him,
// and he is the one who closes.
func TestNoRequestEndsWithoutAWord(t *testing.T) {
	test := func(t *testing.T, s *nettest.Server, asks bool, handOver func()) {
		if !asks {
			s.LeaveNobody()
		}
		c := s.Dial(t)
		greet(c, asks)
		var stopped atomic.Bool
		var sent atomic.Uint32
		under := make(chan struct{}, 64)
		var client, end sync.WaitGroup
		client.Go(func() {
			for under <- struct{}{}; !stopped.Load(); under <- struct{}{} {
				if _, err := c.Write(setOf(sent.Load() + 1)); err != nil {
					return // behind a goodbye
				}
				sent.Add(1)
			}
		})
		told := make(map[word]uint32)
		at := uint32(1)
		for ; ; at++ {
			w := nextWord(t, c, at)
			if told[w]++; w == none || w == goodbye {
				break
			}
			require.Equal(t, w == done, applied(s, at), "%d: %s", at, w)
			first := w == refused && stopped.CompareAndSwap(false, true)
			if <-under; first && !asks {
				client.Wait()
				c.CloseWrite()
			}
			if at == 500 {
				end.Go(func() {
					handOver()
					assert.NoError(t, s.Server.Shutdown(context.Background()))
				})
			}
		}
		stopped.Store(true)
		select {
		case <-under: // who is about to send another finds that it has stopped, or that the connection is closed
		default:
		}
		client.Wait()
		require.NoError(t, c.Close())
		end.Wait()
		if asks {
			require.Equal(t, uint32(1), told[goodbye])
		} else {
			require.Equal(t, sent.Load(), at-1, "what was sent and not answered")
			require.NotZero(t, told[refused])
		}
		for id := at; id <= sent.Load(); id++ {
			require.False(t, applied(s, id), "%d has no answer", id)
		}
	}
	for _, asks := range []bool{false, true} {
		t.Run(fmt.Sprint("asks=", asks), func(t *testing.T) {
			eachTransport(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) { test(t, s, asks, func() {}) })
			t.Run("replica", func(t *testing.T) {
				s, r := nettest.StartReplica(t, nettest.Options{})
				test(t, s, asks, func() { r.HandOver("10.0.0.2:7070") })
			})
			t.Run("replica that leads on", func(t *testing.T) {
				s, _ := nettest.StartReplica(t, nettest.Options{})
				test(t, s, asks, func() {})
			})
		})
	}
}

// pointed is a connection of which each call, once it is armed, is a point.
type pointed struct {
	net.Conn
	armed *atomic.Bool
	point func(call string)
}

func (p pointed) at(call string) {
	if p.armed.Load() {
		p.point(call)
	}
}

func (p pointed) Read(b []byte) (int, error) {
	p.at("Read")
	return p.Conn.Read(b)
}

func (p pointed) Write(b []byte) (int, error) {
	p.at("Write")
	return p.Conn.Write(b)
}

func (p pointed) CloseWrite() error {
	p.at("CloseWrite")
	return p.Conn.(*net.TCPConn).CloseWrite()
}

func (p pointed) Close() error {
	p.at("Close")
	return p.Conn.Close()
}

// late is a connection on which a request comes just after the time has passed in which one was waited for, and before
// that is noticed.
type late struct {
	net.Conn
	passed func()
}

func (l late) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.passed()
	}
	return n, err
}

// TestARequestAsTheTimeEnds: a request that is there when the time has passed in which nothing came, as on a machine
// that has had no processor for the server, is answered.
func TestARequestAsTheTimeEnds(t *testing.T) {
	told := make(map[word]int)
	for k := range 2 { // as the server begins to end, and as the connection is to be closed
		var armed atomic.Bool
		var passed atomic.Int32
		var client *nettest.Conn
		wrap := func(nc net.Conn) net.Conn {
			return late{nc, func() {
				if armed.Load() && int(passed.Add(1)) == k+1 {
					_, _ = client.Write(setOf(1))
				}
			}}
		}
		s := nettest.Start(t, nettest.Options{Wrap: wrap})
		client = s.Dial(t)
		greet(client, false)
		s.Await("bytes_out", 26) // the server waits, or is about to
		armed.Store(true)
		s.Shutdown()
		w := nextWord(t, client, 1)
		require.Equal(t, w == done, applied(s, 1), "%d: %s", k, w)
		told[w]++
	}
	require.Zero(t, told[none], "without a word")
}

// TestARequestAtEachPointOfTheEnd: a request comes before the first call of the end, before the second, and so on: it
// is answered, or was not applied. Who asks is always told.
func TestARequestAtEachPointOfTheEnd(t *testing.T) {
	for _, asks := range []bool{false, true} {
		told := make(map[word]int)
		for k, reached := 0, true; reached; k++ {
			t.Run(fmt.Sprintf("asks=%v,point=%d", asks, k), func(t *testing.T) {
				var armed atomic.Bool
				var calls atomic.Int32
				var client *nettest.Conn
				at := ""
				wrap := func(nc net.Conn) net.Conn {
					return pointed{nc, &armed, func(call string) {
						if calls.Add(1) == int32(k+1) {
							if _, err := client.Write(setOf(1)); err == nil { // else it has seen the end
								at = call
							}
						}
					}}
				}
				s := nettest.Start(t, nettest.Options{Wrap: wrap})
				client = s.Dial(t)
				greet(client, asks)
				s.Await("bytes_out", 26) // the server waits, or is about to
				armed.Store(true)
				ended := make(chan error)
				go func() { ended <- s.Server.Shutdown(context.Background()) }()
				w := nextWord(t, client, 1)
				require.NoError(t, client.Close())
				require.NoError(t, <-ended)
				if reached = at != ""; !reached {
					return
				}
				told[w]++
				require.Equal(t, w == done, applied(s, 1), "%s: %s", at, w)
				if w == none {
					require.False(t, asks, "without a word before %s", at)
					require.Contains(t, []string{"CloseWrite", "Close", "Read"}, at, "the end has been sent")
				}
			})
		}
		t.Log(told)
		require.NotZero(t, told[done])
	}
}
