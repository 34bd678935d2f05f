package netserver_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// outputs is a server with 4 MiB for answers, of which a client may have 2.
var outputs = nettest.Options{Config: netserver.Config{OutputMemory: 4 << 20, ClientOutput: 2 << 20}}

// deaf connects a client that sends all of requests and reads nothing.
func deaf(t *testing.T, s *nettest.Server, requests []byte) {
	c := s.Dial(t)
	require.NoError(t, c.SetReadBuffer(4096)) // so that what the system keeps for it is soon full
	go c.Conn.Write(requests)                 // until it is cut off, or the test ends
}

// TestDeafClients: what clients do not read, be it values that have been replaced since, many small ones or buffers, stays
// within the limit, whatever there are of them; those that have not read for the longest time are cut off, and who reads is
// served all the while.
func TestDeafClients(t *testing.T) {
	large, small := []byte("large"), []byte("small")
	// The values that are held are the same over TLS, so that is tried with one kind. 12 clients hold all that there is, of small
	// values 60.
	for name, requests := range map[string][]byte{
		"large values":   slices.Repeat(protocol.Get{Key: large}.AppendTo(nil, 1), 200),
		"many at a time": slices.Repeat(protocol.AppendKeys(nil, protocol.OpMGet, 0, 1, large, small, small), 200),
		"transactions":   slices.Repeat(protocol.Txn{Ops: []protocol.TxnOp{{Kind: protocol.TxnGet, Key: large}}}.AppendTo(nil, 1), 200),
		"pages":          slices.Repeat(protocol.Scan{WithValues: true}.AppendTo(nil, 1), 200),
		"small values":   slices.Repeat(protocol.Get{Key: small}.AppendTo(nil, 1), 50_000),
	} {
		t.Run(name, func(t *testing.T) {
			each := nettest.Each
			if name != "large values" {
				each = func(t *testing.T, o nettest.Options, test func(*testing.T, *nettest.Server)) {
					test(t, nettest.Start(t, o))
				}
			}
			each(t, outputs, func(t *testing.T, s *nettest.Server) {
				writer := s.Dial(t)
				set := func(i int) {
					for _, q := range []protocol.Set{{Key: large, Value: make([]byte, 1<<20)}, {Key: small, Value: make([]byte, 200)}} {
						q.Value[0] = byte(i)
						require.Equal(t, protocol.StatusOK, writer.Do(q.AppendTo(nil, 1)).Status())
					}
				}
				set(0)
				before := heap()
				n := 12
				if name == "small values" {
					n = 60
				}
				for i := range n {
					deaf(t, s, requests)
					set(i)
				}
				for i := range 4 {
					set(i)
					f := writer.Do(protocol.Get{Key: large}.AppendTo(nil, 2))
					require.Equal(t, protocol.StatusOK, f.Status())
					require.Equal(t, byte(i), f.Body[0])
				}
				s.Await("connections_cut_off", 2)
				s.AwaitLog("closing the slowest connection", "held_bytes")
				require.LessOrEqual(t, s.Stat("output_memory_bytes"), uint64(4<<20))
				require.GreaterOrEqual(t, s.Stat("memory_bytes"), s.Stat("output_memory_bytes")+s.Stat("data_memory_bytes"))
				// Both ends of each connection are in this process.
				require.Less(t, heap()-before, int64(24<<20))
			})
		})
	}
}

// TestClientOutput: an answer that a client may not have is refused before anything is done for it, with what would help; and
// does not keep it from others. What can be stored can be read.
func TestClientOutput(t *testing.T) {
	nettest.Each(t, outputs, func(t *testing.T, s *nettest.Server) {
		c := s.Dial(t)
		limit := protocolLimit(t, c)
		largest := make([]byte, limit-100)
		for _, k := range []string{"a", "b", "c"} {
			require.Equal(t, protocol.StatusOK, c.Do(protocol.Set{Key: []byte(k), Value: largest}.AppendTo(nil, 1)).Status())
			require.Len(t, c.Do(protocol.Get{Key: []byte(k)}.AppendTo(nil, 1)).Body, len(largest))
		}
		require.Equal(t, protocol.StatusTooLarge, c.Do(protocol.Set{Key: []byte("d"), Value: make([]byte, limit)}.AppendTo(nil, 1)).Status())

		f := c.Do(protocol.AppendKeys(nil, protocol.OpMGet, 0, 1, []byte("a"), []byte("b")))
		require.Equal(t, protocol.StatusTooLarge, f.Status())
		require.Contains(t, string(f.Body), "--max-client-output")
		f = c.Do(protocol.Txn{Ops: []protocol.TxnOp{
			{Kind: protocol.TxnSet, Key: []byte("applied"), Value: []byte("?")},
			{Kind: protocol.TxnGet, Key: []byte("a")},
			{Kind: protocol.TxnGet, Key: []byte("b")},
		}}.AppendTo(nil, 1))
		require.Equal(t, protocol.StatusTooLarge, f.Status())
		require.Equal(t, protocol.StatusNotFound, c.Do(protocol.Get{Key: []byte("applied")}.AppendTo(nil, 1)).Status())

		// A page is made shorter instead.
		seen := 0
		for q := (protocol.Scan{WithValues: true}); ; {
			f := c.Do(q.AppendTo(nil, 1))
			require.Equal(t, protocol.StatusOK, f.Status())
			page, err := protocol.ParseScanPage(false, true, f.Body)
			require.NoError(t, err)
			seen += len(page.Items)
			if q.Cursor = page.Cursor; len(q.Cursor) == 0 {
				break
			}
		}
		require.Equal(t, 3, seen)
	})
}

// protocolLimit returns the longest frame that the server says it takes.
func protocolLimit(t *testing.T, c *nettest.Conn) int {
	f := c.Do(protocol.Hello{Version: protocol.Version}.AppendTo(nil, 1))
	hello, err := protocol.ParseHelloResponse(f.Body)
	require.NoError(t, err)
	return int(hello.Limit)
}

// TestAnswerWaits: an answer that there is no memory for waits for those that are on their way to clients who read, and
// is refused where none of them may be cut off, the transaction that it is of with it.
func TestAnswerWaits(t *testing.T) {
	nettest.Each(t, nettest.Options{Config: outputs.Config.WithPatience(time.Second)}, func(t *testing.T, s *nettest.Server) {
		c := s.Dial(t)
		for _, k := range []string{"a", "b"} {
			require.Equal(t, protocol.StatusOK, c.Do(protocol.Set{Key: []byte(k), Value: make([]byte, 900_000)}.AppendTo(nil, 1)).Status())
		}
		both := protocol.AppendKeys(nil, protocol.OpMGet, 0, 1, []byte("a"), []byte("b"))
		readers := make(chan struct{})
		for range 8 {
			c := s.Dial(t)
			go func() {
				defer func() { readers <- struct{}{} }()
				for range 5 {
					if f := c.Do(both); f.Status() != protocol.StatusOK {
						t.Errorf("%v %s", f.Status(), f.Body)
					}
				}
			}()
		}
		for range 8 {
			<-readers
		}
		require.Zero(t, s.Stat("connections_cut_off"))

		s.AwaitRequests() // the last answers may be let go of a little later
		release := s.HoldOutput(3 << 20)
		txn := protocol.Txn{Ops: []protocol.TxnOp{
			{Kind: protocol.TxnSet, Key: []byte("new")},
			{Kind: protocol.TxnGet, Key: []byte("a")},
			{Kind: protocol.TxnGet, Key: []byte("b")},
		}}.AppendTo(nil, 1)
		for _, q := range [][]byte{both, txn} {
			require.Equal(t, protocol.StatusOutOfMemory, c.Do(q).Status())
		}
		require.Equal(t, protocol.StatusNotFound, c.Do(protocol.Get{Key: []byte("new")}.AppendTo(nil, 1)).Status())
		release()
		require.Equal(t, protocol.StatusOK, c.Do(txn).Status())
	})
}

// TestUnfinishedRequests: what has come of requests that are not whole, large or small, stays within the limit; those for which
// there is no room are read away and refused, and small ones are taken as ever.
func TestUnfinishedRequests(t *testing.T) {
	for _, size := range []int{600, 5000, 32_000, 40_000, 200_000} {
		limit := 1 << 20
		if size < 32_000 {
			limit = 256 << 10 // fewer connections show the same
		}
		c := netserver.Config{RequestMemory: int64(limit), FrameTimeout: time.Hour}
		eachTransport(t, nettest.Options{Config: c}, func(t *testing.T, s *nettest.Server) {
			before := heap()
			whole := ping(1, string(make([]byte, size)))
			part, n := whole[:len(whole)-1], 2*limit/size+20
			var all []*nettest.Conn
			for range n {
				c := s.Dial(t)
				c.Send(part)
				all = append(all, c)
			}
			s.Await("bytes_in", uint64(n*len(part)))
			require.LessOrEqual(t, s.Stat("request_memory_bytes"), uint64(limit))
			if s.Stat("request_memory_bytes") < uint64(limit/2) {
				require.Fail(t, "what has come is not counted", "%d bytes are", s.Stat("request_memory_bytes"))
			}
			require.Less(t, heap()-before, int64(4*limit+n*(50<<10)), "with what TLS and the test have for each connection")
			tried := s.Dial(t)
			for i := range 10 {
				tried.SendSlowly(ping(uint32(i), "small"))
				tried.Expect(protocol.OpPing, protocol.StatusOK, uint32(i))
			}
			refused := 0
			for _, c := range all {
				c.Send(whole[len(part):])
				if f := c.Next(); f.Status() == protocol.StatusOutOfMemory {
					refused++
				} else {
					require.Equal(t, protocol.StatusOK, f.Status())
				}
			}
			require.Positive(t, refused)
			require.Less(t, refused, n)
		})
	}
}

// TestLargestRequest: what HELLO says can be sent is taken, and there is memory for it.
func TestLargestRequest(t *testing.T) {
	for _, memory := range []int64{1 << 20, 3 << 20, 10 << 20} {
		nettest.Each(t, nettest.Options{Config: netserver.Config{RequestMemory: memory}}, func(t *testing.T, s *nettest.Server) {
			c := s.Dial(t)
			limit := protocolLimit(t, c)
			require.Greater(t, limit, int(memory/2))
			whole := ping(1, string(make([]byte, limit-8)))
			for at := range slices.Chunk(whole, 50_000) { // as it comes over a network
				c.Send(at)
			}
			require.Equal(t, protocol.StatusOK, c.Next().Status())
			require.Equal(t, protocol.StatusTooLarge, c.Do(ping(1, string(make([]byte, limit-7)))).Status())
			s.AwaitRequests()
		})
	}
}

// TestWaitingHoldsNothing: whatever part of a request has come, a connection that waits for the rest holds no memory
// for answers, which others would then lack.
func TestWaitingHoldsNothing(t *testing.T) {
	whole := ping(1, string(make([]byte, 100_000)))
	eachTransport(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		var sent uint64
		var all []*nettest.Conn
		for _, cut := range []int{1, 4, 11, 12, 13, 24, 4096, 40_000} {
			c := s.Dial(t)
			c.Send(whole[:cut])
			sent += uint64(cut)
			all = append(all, c)
		}
		s.Await("bytes_in", sent)
		require.Eventually(t, func() bool { return s.Stat("output_memory_bytes") == 0 }, nettest.Timeout, time.Millisecond)
		for i, cut := range []int{1, 4, 11, 12, 13, 24, 4096, 40_000} {
			all[i].Send(whole[cut:])
			all[i].Expect(protocol.OpPing, protocol.StatusOK, 1)
		}
	})
}
