package netserver_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

const soon = 50 * time.Millisecond

// TestSlowFrame: a frame that does not get finished ends its connection, however it trickles; one that is idle between
// frames stays.
func TestSlowFrame(t *testing.T) {
	o := nettest.Options{Config: netserver.Config{FrameTimeout: soon, Limit: 1 << 20}}
	large, over := ping(1, string(make([]byte, 1<<20-8))), ping(1, string(make([]byte, 1<<20)))
	eachTransport(t, o, func(t *testing.T, s *nettest.Server) {
		idle := s.Dial(t)
		idle.Send(ping(1, "x")[:5])
		idle.Send(ping(1, "x")[5:])
		idle.Expect(protocol.OpPing, protocol.StatusOK, 1)

		slow := make(map[*nettest.Conn]string) // all at once, since each takes its time
		for name, part := range map[string][]byte{
			"length": large[:3], "all but a byte of the header": large[:11], "header": large[:12], "body": large[:13],
			"large": large[:40_000], "refused": over[:20],
		} {
			for _, before := range [][]byte{nil, ping(1, "a whole one")} {
				c := s.Dial(t)
				if before != nil {
					c.Do(before)
				}
				c.Send(part)
				slow[c] = name
			}
		}
		trickle, trickled := s.Dial(t), make(chan struct{})
		go func() {
			defer close(trickled)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				if _, err := trickle.Write(large[i : i+1]); err != nil {
					return
				}
				<-tick.C
			}
		}()
		for c, name := range slow {
			t.Log(name)
			c.ExpectClosed()
			s.AwaitLog("too long to arrive", c.Logged())
		}

		<-trickled
		s.AwaitLog("too long to arrive", trickle.Logged())
		idle.Do(ping(2, "still here"))
	})
}

// TestSlowReader: a client that does not read is not read from for ever, and gets closed; others do not notice.
func TestSlowReader(t *testing.T) {
	eachTransport(t, nettest.Options{Config: netserver.Config{WriteTimeout: soon}}, func(t *testing.T, s *nettest.Server) {
		key := []byte("k")
		healthy := s.Dial(t)
		healthy.Do(protocol.Set{Key: key, Value: make([]byte, 1<<20)}.AppendTo(nil, 1))
		for _, request := range [][]byte{
			ping(1, string(make([]byte, 1000))),
			ping(1, string(make([]byte, 20_000))),
			protocol.Get{Key: key}.AppendTo(nil, 1),
		} {
			c := s.Dial(t)
			for {
				if _, err := c.Write(request); err != nil {
					break
				}
			}
			s.AwaitLog("does not read", c.Logged())
			healthy.Do(ping(2, ""))
		}
		s.AwaitConnections(1)

		// Nor does a byte now and then keep an answer, and the value in it, for ever.
		c := s.Dial(t)
		c.Send(slices.Repeat(protocol.Get{Key: key}.AppendTo(nil, 1), 100))
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for s.Stat("connections") > 1 {
			c.Conn.Read(make([]byte, 1))
			<-tick.C
		}
		s.AwaitLog("does not read", c.Logged())
	})
}

// TestSettle: an idle connection goes on in another goroutine, and nobody notices, whatever has come of a frame.
func TestSettle(t *testing.T) {
	large := ping(2, string(make([]byte, 100_000)))
	eachTransport(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		idle, within, large2 := s.Dial(t), s.Dial(t), s.Dial(t)
		for range 3 {
			idle.Do(ping(1, "x"))
			before := s.Stat("bytes_in")
			within.Send(ping(2, "cut")[:13])
			large2.Send(large[:50_000])
			s.Await("bytes_in", before+13+50_000)
			s.Settle()
			within.Send(ping(2, "cut")[13:])
			within.Expect(protocol.OpPing, protocol.StatusOK, 2)
			large2.Send(large[50_000:])
			large2.Expect(protocol.OpPing, protocol.StatusOK, 2)
		}
		idle.Do(ping(3, "x"))
		s.Settle()
	})
}

// TestReset: connections that the client aborts, idle, within a frame, or with answers on their way, leave nothing behind.
func TestReset(t *testing.T) {
	eachTransport(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		for _, sent := range [][]byte{nil, ping(1, "x")[:7], ping(1, string(make([]byte, 100_000)))[:50_000], ping(1, "x")} {
			s.Dial(t).Abort()
			c := s.Dial(t)
			c.Send(sent)
			c.Abort()
		}
		s.AwaitConnections(0)
	})
}

// TestMaxConnections: one connection too many is told so; there is room again when one closes.
func TestMaxConnections(t *testing.T) {
	nettest.Each(t, nettest.Options{Config: netserver.Config{MaxConnections: 2}}, func(t *testing.T, s *nettest.Server) {
		first, second := s.Dial(t), s.Dial(t)
		first.Do(ping(1, ""))
		second.Do(ping(1, ""))
		for range 100 {
			c := s.Dial(t)
			c.Send(ping(7, "nobody reads this"))
			require.Contains(t, string(c.Expect(0, protocol.StatusUnavailable, 0)), "connections")
			c.ExpectClosed()
			require.NoError(t, c.Close())
		}
		require.EqualValues(t, 100, s.Stat("connections_refused"))
		s.AwaitLog("level=WARN", "refusing a connection", "max_connections=2")
		require.NoError(t, first.Close())
		s.AwaitConnections(1)
		s.Dial(t).Do(ping(1, ""))
		second.Do(ping(2, ""))
	})
}

// TestShutdown: what has arrived is answered, whatever the connection was doing; what has not is not waited for.
func TestShutdown(t *testing.T) {
	requests := every()
	j := &journal{}
	o := nettest.Options{Store: store.Options{Journal: j}}
	eachTransport(t, o, func(t *testing.T, s *nettest.Server) {
		idle, unfinished, busy := s.Dial(t), s.Dial(t), s.Dial(t)
		idle.Do(ping(1, ""))
		before := s.Stat("bytes_in")
		unfinished.Send(requests...)
		unfinished.Send(ping(1, "unfinished")[:10])
		s.Await("bytes_in", before+uint64(len(join(requests))+10))

		// busy waits for the journal; what it sends meanwhile arrives, but is not read.
		release := j.hold()
		before = s.Stat("bytes_in")
		set := protocol.Set{Key: []byte("busy")}.AppendTo(nil, 1)
		busy.Send(set)
		s.Await("bytes_in", before+uint64(len(set)))
		busy.Send(requests...)

		done := make(chan error)
		go func() { done <- s.Server.Shutdown(context.Background()) }()
		idle.ExpectClosed()
		release()
		busy.Expect(protocol.OpSet, protocol.StatusOK, 1)
		expectAll(t, busy, requests)
		busy.ExpectClosed()
		expectAll(t, unfinished, requests)
		unfinished.ExpectClosed()
		for _, c := range []*nettest.Conn{idle, unfinished, busy} {
			require.NoError(t, c.Close())
		}
		require.NoError(t, <-done)
		_, err := net.Dial("tcp", s.Addr)
		require.Error(t, err, "it still accepts")
	})
}

func join(frames [][]byte) (all []byte) {
	for _, f := range frames {
		all = append(all, f...)
	}
	return all
}

// TestShutdownIsBounded: clients that do not read, and one that never stops sending, do not hold up the end.
func TestShutdownIsBounded(t *testing.T) {
	eachTransport(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		var clients sync.WaitGroup
		defer clients.Wait()
		for reads := range 2 {
			c := s.Dial(t)
			clients.Go(func() {
				for {
					if _, err := c.Write(ping(1, string(make([]byte, 10_000)))); err != nil {
						break
					}
				}
			})
			if reads == 1 {
				clients.Go(func() { io.Copy(io.Discard, c) })
			}
		}
		s.Await("bytes_in", 1<<20)
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		err := s.Server.Shutdown(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, s.Stat("connections"))
	})
}

// TestAcceptErrors: while accepting fails the server says so once, does not spin, and goes on afterwards.
func TestAcceptErrors(t *testing.T) {
	st, err := store.Open(store.Options{})
	require.NoError(t, err)
	defer st.Close()
	var log nettest.Log
	srv, err := netserver.New(netserver.Config{Store: st, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &failingListener{Listener: inner, failures: 5}
	served := make(chan error)
	go func() { served <- srv.Serve(l) }()

	c, err := net.Dial("tcp", inner.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write(ping(1, ""))
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, protocol.HeaderSize))
	require.NoError(t, err)
	assert.Len(t, log.Lines(), 1)
	assert.NoError(t, c.Close())
	require.NoError(t, srv.Shutdown(t.Context()))
	require.ErrorIs(t, <-served, netserver.ErrServerClosed)
	require.ErrorIs(t, srv.Serve(inner), netserver.ErrServerClosed)
}

type failingListener struct {
	net.Listener
	failures int // left
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

// TestRequestMemory: large requests that there is no memory for are read away and refused; small ones are not touched.
func TestRequestMemory(t *testing.T) {
	const budget = 2 << 20
	eachTransport(t, nettest.Options{Config: netserver.Config{RequestMemory: budget}}, func(t *testing.T, s *nettest.Server) {
		large := ping(1, string(make([]byte, 900_000)))
		first, second := s.Dial(t), s.Dial(t)
		first.Send(large[:800_000])
		s.Await("bytes_in", 800_000)
		second.Send(large, ping(2, "after"))
		second.Expect(protocol.OpPing, protocol.StatusOutOfMemory, 1)
		require.Equal(t, "after", string(second.Expect(protocol.OpPing, protocol.StatusOK, 2)))
		first.Send(large[800_000:])
		require.Len(t, first.Expect(protocol.OpPing, protocol.StatusOK, 1), 900_000)
		s.AwaitRequests()
		second.Send(large)
		second.Expect(protocol.OpPing, protocol.StatusOK, 1)

		// So are requests of many small keys, whose lists are larger than they are.
		many := make([][]byte, 40_000)
		for _, f := range [][]byte{
			protocol.AppendKeys(nil, protocol.OpMGet, 0, 3, many...),
			protocol.AppendKeys(nil, protocol.OpDel, 0, 3, many...),
			protocol.AppendMSet(nil, 3, make([]protocol.Pair, 20_000)...),
			protocol.Txn{Conditions: make([]protocol.Condition, 10_000), Ops: slices.Repeat([]protocol.TxnOp{{Kind: protocol.TxnGet}}, 10_000)}.AppendTo(nil, 3),
		} {
			answer := second.Do(f)
			require.Equal(t, protocol.StatusOutOfMemory, answer.Status())
			require.Contains(t, string(answer.Body), "send fewer keys at a time", "it can never be answered")
		}
		// Keys alone take less than values.
		for _, op := range []protocol.Opcode{protocol.OpMGet, protocol.OpDel} {
			require.Equal(t, protocol.StatusOK, second.Do(protocol.AppendKeys(nil, op, 0, 3, many[:16_000]...)).Status())
		}

		// A connection that breaks off gives back what it had.
		first.Send(large[:800_000])
		first.Abort()
		s.AwaitConnections(1)
		second.Send(large)
		second.Expect(protocol.OpPing, protocol.StatusOK, 1)
	})
}

// TestLimitIsTrue: a request of the length that HELLO tells is taken, however little memory there is, and one byte more never is.
func TestLimitIsTrue(t *testing.T) {
	for _, memory := range []int64{4 << 20, 5 << 20, 16 << 20, 100 << 20, 1 << 30} {
		s := nettest.Start(t, nettest.Options{
			Store:  store.Options{MaxMemory: memory},
			Config: netserver.Config{RequestMemory: memory / 4, MemoryLimit: memory},
		})
		c := s.Dial(t)
		p, err := protocol.ParseHelloResponse(c.Do(hello("", "")).Body)
		require.NoError(t, err)
		require.Equal(t, s.Server.Limit(), p.Limit)
		require.GreaterOrEqual(t, int64(p.Limit), min(memory/16, protocol.DefaultLimit))
		longest := protocol.Set{Key: []byte("a"), Value: make([]byte, int(p.Limit)-8-4-1)}
		require.Equal(t, protocol.StatusOK, c.Do(longest.AppendTo(nil, 1)).Status(), "%d of %d", p.Limit, memory)
		longest.Value = append(longest.Value, 0)
		refused := c.Do(longest.AppendTo(nil, 2))
		require.Equal(t, protocol.StatusTooLarge, refused.Status())
		require.Contains(t, string(refused.Body), fmt.Sprintf("this server takes %d at most", p.Limit))
		s.AwaitRequests()
	}
}

// TestHopelessRequestTakesNoHistory: a large request for which there is not enough memory, even without any history, is
// refused before it takes some, though it arrives bit by bit.
func TestHopelessRequestTakesNoHistory(t *testing.T) {
	const limit = 16 << 20
	tests := []struct {
		name    string
		size    int
		request int64 // RequestMemory; 0: enough
		status  protocol.Status
	}{
		{"value", 15 << 20, 0, protocol.StatusOutOfMemory},
		{"request memory", 6 << 20, 4 << 20, protocol.StatusTooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := nettest.Start(t, nettest.Options{
				Store:  store.Options{MaxMemory: limit, History: 8},
				Config: netserver.Config{RequestMemory: test.request},
			})
			c := s.Dial(t)
			session := s.Store.Session()
			defer session.Close()
			for i := range 14_000 {
				_, err := session.Set(binary.BigEndian.AppendUint32(nil, uint32(i%2000)), make([]byte, 1000), store.SetOptions{})
				require.NoError(t, err)
			}
			before := s.Store.Stats()
			require.EqualValues(t, 12_000, before.History)
			for _, f := range [][]byte{
				protocol.Set{Key: []byte("big"), Value: make([]byte, test.size)}.AppendTo(nil, 2),
				protocol.AppendMSet(nil, 2, protocol.Pair{Key: []byte("big"), Value: make([]byte, test.size)}),
			} {
				require.Equal(t, test.status, c.Do(f).Status())
			}
			s.AwaitRequests()
			after := s.Store.Stats()
			require.Equal(t, before.History, after.History)
			require.Equal(t, before.MemoryBytes, after.MemoryBytes)
			// One that fits takes some.
			require.Equal(t, protocol.StatusOK, c.Do(protocol.Set{Key: []byte("big"), Value: make([]byte, 19<<20/10)}.AppendTo(nil, 3)).Status())
			require.Less(t, s.Store.Stats().History, before.History)
		})
	}
}
