package netserver_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// every returns a request of each kind, whole and valid, with its id counting from 1.
func every() [][]byte {
	a, b := []byte("a"), []byte("b")
	var id uint32
	next := func() uint32 { id++; return id }
	return [][]byte{
		protocol.Hello{Version: 1}.AppendTo(nil, next()),
		protocol.Set{Key: a, Value: []byte("one")}.AppendTo(nil, next()),
		protocol.Set{Key: b, Value: []byte("two"), TTL: 60_000, Conditional: true}.AppendTo(nil, next()),
		protocol.Get{Key: a}.AppendTo(nil, next()),
		protocol.Get{Key: b, WithMeta: true}.AppendTo(nil, next()),
		protocol.Get{Key: b, AtVersion: 1}.AppendTo(nil, next()),
		protocol.AppendMSet(nil, next(), protocol.Pair{Key: a, Value: b}, protocol.Pair{Key: b, Value: a}),
		protocol.AppendKeys(nil, protocol.OpMGet, protocol.FlagWithMeta, next(), a, b, []byte("absent")),
		protocol.Txn{
			Conditions: []protocol.Condition{{Version: 0, Key: []byte("absent")}},
			Ops:        []protocol.TxnOp{{Kind: protocol.TxnGet, Key: a}, {Kind: protocol.TxnSet, Key: a, Value: b}, {Kind: protocol.TxnDel, Key: b}},
		}.AppendTo(nil, next()),
		protocol.Scan{Prefix: a, WithValues: true}.AppendTo(nil, next()),
		protocol.History{Key: a}.AppendTo(nil, next()),
		protocol.Rollback{Version: 1, Key: a}.AppendTo(nil, next()),
		protocol.Incr{Key: []byte("n"), By: -3}.AppendTo(nil, next()),
		protocol.Expire{Key: a, TTL: 60_000}.AppendTo(nil, next()),
		protocol.Persist{Key: b}.AppendTo(nil, next()),
		protocol.Purge{Keys: [][]byte{a}}.AppendTo(nil, next()),
		protocol.AppendHeader(nil, protocol.OpStats, 0, next(), 0),
		append(protocol.AppendHeader(nil, protocol.OpPing, 0, next(), 2), "hi"...),
		protocol.AppendKeys(nil, protocol.OpDel, 0, next(), a, b),
		protocol.AppendHeader(nil, protocol.OpSnapshot, 0, next(), 0),
		protocol.Backup{}.AppendTo(nil, next()),
		protocol.AppendHeader(nil, protocol.OpCluster, 0, next(), 0),
		protocol.Reads{Bound: 1000}.AppendTo(nil, next()),
		protocol.Member{Change: protocol.MemberRemove, ID: 1}.AppendTo(nil, next()),
	}
}

// TestGetsThatComeTogether: GETs that are looked up side by side are answered as if they came one by one, whatever lies
// behind their keys and whatever comes between them, and counted as often.
func TestGetsThatComeTogether(t *testing.T) {
	s := nettest.Start(t, nettest.Options{})
	c := s.Dial(t)
	values := map[string]string{}
	keys := []string{"absent"}
	for name, n := range map[string]int{"empty": 0, "short": 5, "longest that is copied": netserver.CopySize - 1, "large": netserver.CopySize, "larger": 50_000} {
		for _, ttl := range []uint64{0, 60_000} {
			key := fmt.Sprint(name, " ", ttl)
			values[key] = string(bytes.Repeat([]byte(name), n)[:n])
			require.Equal(t, protocol.StatusOK, c.Do(protocol.Set{Key: []byte(key), Value: []byte(values[key]), TTL: ttl}.AppendTo(nil, 1)).Status())
			keys = append(keys, key)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		var batch [][]byte
		var want []string
		gets, misses := uint64(0), uint64(0)
		few := random.IntN(len(keys))
		for i := range 1 + random.IntN(60) {
			key := keys[random.IntN(len(keys))]
			if random.IntN(3) > 0 {
				key = keys[(few+random.IntN(2))%len(keys)]
			}
			if random.IntN(20) == 0 && key != "absent" {
				values[key] = fmt.Sprint(random.Int())
				batch = append(batch, protocol.Set{Key: []byte(key), Value: []byte(values[key])}.AppendTo(nil, uint32(i)))
				want = append(want, "")
				continue
			}
			if gets++; key == "absent" {
				misses++
			}
			batch = append(batch, protocol.Get{Key: []byte(key), WithMeta: random.IntN(20) == 0}.AppendTo(nil, uint32(i)))
			want = append(want, values[key])
		}
		before := [2]uint64{s.Stat("get_ops"), s.Stat("misses")}
		c.Send(bytes.Join(batch, nil))
		for i, q := range batch {
			f, q := c.Next(), protocol.ParseHeader(q)
			require.EqualValues(t, i, f.ID)
			require.Equal(t, q.Opcode, f.Opcode)
			switch {
			case q.Opcode == protocol.OpSet:
				require.Equal(t, protocol.StatusOK, f.Status())
			case f.Status() == protocol.StatusOK:
				require.True(t, bytes.HasSuffix(f.Body, []byte(want[i])))
				if q.Flags == 0 {
					require.Len(t, f.Body, len(want[i]))
				}
			default:
				require.Equal(t, protocol.StatusNotFound, f.Status())
				require.Empty(t, want[i])
			}
		}
		require.Equal(t, [2]uint64{before[0] + gets, before[1] + misses}, [2]uint64{s.Stat("get_ops"), s.Stat("misses")})
	}
}

// expectAll takes a response to each of requests, in order, and returns their statuses.
func expectAll(t *testing.T, c *nettest.Conn, requests [][]byte) (statuses []protocol.Status) {
	t.Helper()
	for _, r := range requests {
		want := protocol.ParseHeader(r)
		got := c.Next()
		require.Equal(t, want.Opcode, got.Opcode)
		require.Equal(t, want.ID, got.ID)
		statuses = append(statuses, got.Status())
	}
	return statuses
}

// TestPipelining sends one request of each kind in one piece and takes the answers in order. Then the same request
// sequence is sent byte by byte, and cut in two at every byte; the answers do not change.
func TestPipelining(t *testing.T) {
	requests := every()
	stream := bytes.Join(requests, nil)
	eachTransport(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		whole := s.Dial(t)
		whole.Send(stream)
		statuses := expectAll(t, whole, requests)
		for i, r := range requests {
			if protocol.ParseHeader(r).Opcode != protocol.OpMember { // a server that is alone refuses that
				require.NotEqual(t, protocol.StatusBadRequest, statuses[i], "request %d", i)
			}
		}
		require.NotContains(t, statuses, protocol.StatusInternal)

		slow := s.Dial(t)
		slow.SendSlowly(stream)
		require.Equal(t, statuses, expectAll(t, slow, requests))

		for cut := range len(stream) {
			c := s.Dial(t)
			before := s.Stat("bytes_in")
			c.Send(stream[:cut])
			s.Await("bytes_in", before+uint64(cut))
			c.Send(stream[cut:])
			require.Equal(t, statuses, expectAll(t, c, requests), "cut at byte %d", cut)
			require.NoError(t, c.Close())
		}
	})
}

// TestHalfClose: a client that has sent all it has to say gets every answer, then the end.
func TestHalfClose(t *testing.T) {
	requests := every()
	eachTransport(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		for range 50 {
			c := s.Dial(t)
			c.Send(requests...)
			c.CloseWrite()
			expectAll(t, c, requests)
			c.ExpectClosed()
		}
		c := s.Dial(t)
		c.Send(ping(1, "x"), ping(2, "unfinished")[:15])
		c.CloseWrite()
		c.Expect(protocol.OpPing, protocol.StatusOK, 1)
		c.ExpectClosed()
	})
}

func ping(id uint32, body string) []byte {
	return append(protocol.AppendHeader(nil, protocol.OpPing, 0, id, len(body)), body...)
}

// withLength returns the frame with another length in its header.
func withLength(frame []byte, length uint32) []byte {
	frame = bytes.Clone(frame)
	binary.BigEndian.PutUint32(frame, length)
	return frame
}

// TestBadLength: a length that can't be a frame's ends the connection, after the answers to what came before.
func TestBadLength(t *testing.T) {
	eachTransport(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		for _, length := range []uint32{0, 1, 7, 1 << 28, 1<<28 + 1, 1<<31 - 1, 1 << 31, math.MaxUint32} {
			c := s.Dial(t)
			c.Send(ping(1, "before"), withLength(ping(2, "bad"), length), ping(3, "after"))
			require.Equal(t, "before", string(c.Expect(protocol.OpPing, protocol.StatusOK, 1)))
			c.ExpectClosed()
		}
	})
}

// TestLimit: a frame over the limit is read away, answered, and forgotten.
func TestLimit(t *testing.T) {
	const limit = 100_000
	eachTransport(t, nettest.Options{Config: netserver.Config{Limit: limit}}, func(t *testing.T, s *nettest.Server) {
		for _, over := range []int{1, 1000, 1 << 20, 10 << 20} {
			c := s.Dial(t)
			fits := ping(1, string(make([]byte, limit-8)))
			tooLong := ping(2, string(make([]byte, limit-8+over)))
			go c.Write(append(append(fits, tooLong...), ping(3, "after")...))
			require.Len(t, c.Expect(protocol.OpPing, protocol.StatusOK, 1), limit-8)
			require.Contains(t, string(c.Expect(protocol.OpPing, protocol.StatusTooLarge, 2)), fmt.Sprint(limit))
			require.Equal(t, "after", string(c.Expect(protocol.OpPing, protocol.StatusOK, 3)))
		}
		// The limit comes before all else that is wrong with a frame.
		c := s.Dial(t)
		bad := ping(4, string(make([]byte, limit)))
		bad[4], bad[5], bad[6] = 0x70, 0xff, 0xff
		c.Send(bad)
		c.Expect(0x70, protocol.StatusTooLarge, 4)
	})
}

// TestClaims: lengths and counts inside a body that say more than there is are answered, nothing is allocated for them, and
// the connection goes on.
func TestClaims(t *testing.T) {
	u32 := func(n ...uint32) (b []byte) {
		for _, v := range n {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	frame := func(op protocol.Opcode, flags uint8, body []byte) []byte {
		return append(protocol.AppendHeader(nil, op, flags, 9, len(body)), body...)
	}
	nettest.Each(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		c := s.Dial(t)
		for _, n := range []uint32{1, 2, 1<<28 - 1, 1<<31 - 1, 1 << 31, math.MaxUint32 - 1, math.MaxUint32} {
			for _, f := range [][]byte{
				frame(protocol.OpSet, 0, u32(n)),
				frame(protocol.OpDel, 0, u32(n)),
				frame(protocol.OpDel, 0, u32(1, n)),
				frame(protocol.OpMGet, 0, u32(n)),
				frame(protocol.OpMGet, 0, u32(2, 0, n)),
				frame(protocol.OpMSet, 0, u32(n)),
				frame(protocol.OpMSet, 0, u32(1, n, 0)),
				frame(protocol.OpMSet, 0, u32(1, 0, n)),
				frame(protocol.OpMSet, 0, u32(1, n, n)),
				frame(protocol.OpTxn, 0, u32(n, 0)),
				frame(protocol.OpTxn, 0, u32(0, n)),
				frame(protocol.OpTxn, 0, append(u32(0, 1), append([]byte{1}, u32(n)...)...)),
				frame(protocol.OpScan, 0, append(u32(0), 0xff, 0xff)),
				frame(protocol.OpHello, 0, u32(1<<16|0xffff, 0xffff<<16)),
			} {
				f := c.Do(f)
				require.Equal(t, protocol.StatusBadRequest, f.Status(), "%v with %d: %s", f.Opcode, n, f.Body)
			}
		}
		require.Equal(t, protocol.StatusOK, c.Do(ping(1, "")).Status())
	})
}

// TestHeaderChecks: what is wrong with a header has an answer, and the connection goes on.
func TestHeaderChecks(t *testing.T) {
	nettest.Each(t, nettest.Options{}, func(t *testing.T, s *nettest.Server) {
		c := s.Dial(t)
		for op := range 256 {
			op := protocol.Opcode(op)
			want := protocol.StatusBadRequest
			if !op.Known() {
				want = protocol.StatusUnknownOpcode
			}
			var batch []byte
			var ids []uint32
			for flags := range uint32(256) {
				if !op.AllowsFlags(uint8(flags)) && (op.Known() || flags%51 == 0) {
					batch = protocol.AppendHeader(batch, op, uint8(flags), flags, 0)
					ids = append(ids, flags)
				}
			}
			c.Send(batch)
			for _, id := range ids {
				c.Expect(op, want, id)
			}
		}
		for _, reserved := range []uint16{1, 0x100, 0xffff} {
			f := ping(3, "x")
			binary.BigEndian.PutUint16(f[6:], reserved)
			require.Equal(t, protocol.StatusBadRequest, c.Do(f).Status())
			f[4] = 0x70 // reserved comes before the opcode
			require.Equal(t, protocol.StatusBadRequest, c.Do(f).Status())
		}
		require.Equal(t, protocol.StatusOK, c.Do(ping(1, "")).Status())
	})
}

// TestForeign: clients of other protocols are recognised, named in the log, and cut off.
func TestForeign(t *testing.T) {
	tests := []struct{ name, bytes string }{
		{"HTTP", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
		{"HTTP", "POST /v1/kv HTTP/1.1\r\n\r\n"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		{"Redis (RESP)", "*1\r\n$4\r\nPING\r\n"},
		{"Redis (RESP)", "PING\r\n"},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
		{"memcached", "get a\r\n"},
		{"an unknown protocol", "\xff\xff\xff\xff\xff\xff"},
	}
	s := nettest.Start(t, nettest.Options{})
	for _, tt := range tests {
		c := s.Dial(t)
		c.Send([]byte(tt.bytes))
		c.ExpectClosed()
		s.AwaitLog("looks_like=", tt.name, c.Logged())
	}
	s.AwaitLog("level=WARN", "looks_like=")
}

// TestLargeValues: values that are sent straight from the store, in every kind of answer, among short ones.
func TestLargeValues(t *testing.T) {
	eachTransport(t, nettest.Options{Store: storeWithHistory}, func(t *testing.T, s *nettest.Server) {
		c := s.Dial(t)
		var keys [][]byte
		var values []string
		for i, size := range []int{0, 1, 16<<10 - 1, 16 << 10, 32 << 10, 64<<10 - 12, 100_000, 3 << 20, 5, 10 << 20, 1} {
			key := []byte{byte('a' + i)}
			value := string(bytes.Repeat(key, size))
			keys, values = append(keys, key), append(values, value)
			c.Send(protocol.Set{Key: key, Value: []byte(value)}.AppendTo(nil, 1))
			c.Expect(protocol.OpSet, protocol.StatusOK, 1)
		}

		var gets [][]byte
		for i, key := range keys {
			gets = append(gets, protocol.Get{Key: key}.AppendTo(nil, uint32(i)), ping(uint32(i), "between"))
		}
		c.Send(gets...)
		for i, value := range values {
			require.True(t, value == string(c.Expect(protocol.OpGet, protocol.StatusOK, uint32(i))), "GET %d", i)
			c.Expect(protocol.OpPing, protocol.StatusOK, uint32(i))
		}

		c.Send(protocol.AppendKeys(nil, protocol.OpMGet, 0, 2, keys...))
		got, err := protocol.ParseValues(nil, false, c.Expect(protocol.OpMGet, protocol.StatusOK, 2))
		require.NoError(t, err)
		var txn protocol.Txn
		for i, v := range got {
			require.True(t, values[i] == string(v.Data), "MGET %d", i)
			txn.Ops = append(txn.Ops, protocol.TxnOp{Kind: protocol.TxnGet, Key: keys[i]})
		}

		c.Send(txn.AppendTo(nil, 3))
		results, err := protocol.ParseTxnResponse(false, c.Expect(protocol.OpTxn, protocol.StatusOK, 3))
		require.NoError(t, err)
		for i, r := range results.Results {
			require.True(t, values[i] == string(r.Value.Data), "TXN %d", i)
		}

		var found int
		for cursor := []byte(nil); ; {
			c.Send(protocol.Scan{WithValues: true, Cursor: cursor}.AppendTo(nil, 4))
			page, err := protocol.ParseScanPage(false, true, c.Expect(protocol.OpScan, protocol.StatusOK, 4))
			require.NoError(t, err)
			for _, it := range page.Items {
				require.True(t, values[it.Key[0]-'a'] == string(it.Value), "SCAN %s", it.Key)
				found++
			}
			if cursor = page.Cursor; len(cursor) == 0 {
				break
			}
		}
		require.Equal(t, len(keys), found)

		for i, key := range keys {
			c.Send(protocol.History{Key: key}.AppendTo(nil, 5))
			revisions, err := protocol.ParseHistoryResponse(c.Expect(protocol.OpHistory, protocol.StatusOK, 5))
			require.NoError(t, err)
			require.Len(t, revisions, 1)
			require.True(t, values[i] == string(revisions[0].Value.Data), "HISTORY %d", i)
		}
	})
}

// TestAnswerOverTheCap: an answer that no frame can hold is TOO_LARGE, nothing of it is sent, and the connection goes on.
func TestAnswerOverTheCap(t *testing.T) {
	s := nettest.Start(t, nettest.Options{})
	c := s.Dial(t)
	key := []byte("k")
	c.Send(protocol.Set{Key: key, Value: make([]byte, 60<<20)}.AppendTo(nil, 1))
	c.Expect(protocol.OpSet, protocol.StatusOK, 1)
	c.Send(protocol.AppendKeys(nil, protocol.OpMGet, 0, 2, key, key, key, key, key))
	c.Expect(protocol.OpMGet, protocol.StatusTooLarge, 2)
	get := protocol.TxnOp{Kind: protocol.TxnGet, Key: key}
	c.Send(protocol.Txn{Ops: []protocol.TxnOp{get, get, get, get, get}}.AppendTo(nil, 3))
	c.Expect(protocol.OpTxn, protocol.StatusTooLarge, 3)
	// One that writes has then not been applied.
	before := s.Stat("set_ops")
	set := protocol.TxnOp{Kind: protocol.TxnSet, Key: []byte("other")}
	del := protocol.TxnOp{Kind: protocol.TxnDel, Key: key}
	c.Send(protocol.Txn{Ops: []protocol.TxnOp{set, get, get, get, get, get, del}}.AppendTo(nil, 3))
	c.Expect(protocol.OpTxn, protocol.StatusTooLarge, 3)
	require.Equal(t, protocol.StatusNotFound, c.Do(protocol.Get{Key: set.Key}.AppendTo(nil, 4)).Status())
	require.Equal(t, before, s.Stat("set_ops"))
	require.EqualValues(t, 1, s.Stat("keys"))
	require.Equal(t, protocol.StatusOK, c.Do(ping(4, "")).Status())
}
