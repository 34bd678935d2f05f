package netserver_test

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// TestFigures recomputes every figure of the server, step by step, from what was sent and answered.
func TestFigures(t *testing.T) {
	a, b, none := []byte("a"), []byte("b"), []byte("none")
	get := func(key []byte) []byte { return protocol.Get{Key: key}.AppendTo(nil, 1) }
	set := func(key []byte, value string) []byte {
		return protocol.Set{Key: key, Value: []byte(value)}.AppendTo(nil, 1)
	}
	large := protocol.AppendHeader(nil, protocol.OpPing, 0, 1, 1<<20)
	large = append(large, make([]byte, 1<<20)...)
	gets := func(keys ...[]byte) (ops []protocol.TxnOp) {
		for _, k := range keys {
			ops = append(ops, protocol.TxnOp{Kind: protocol.TxnGet, Key: k})
		}
		return ops
	}
	type figures map[string]uint64
	steps := []struct {
		name   string
		sent   []byte
		status protocol.Status
		adds   figures // besides the request and its bytes
	}{
		{"who is nobody", get(a), protocol.StatusUnauthenticated, figures{"refusals_unauthenticated": 1}},
		{"a wrong secret", hello("anna", "wrong"), protocol.StatusUnauthenticated, figures{"refusals_unauthenticated": 1, "login_failures": 1}},
		{"no secret", hello("", ""), protocol.StatusUnauthenticated, figures{"refusals_unauthenticated": 1}},
		{"a user who reads", hello("reader", "r"), protocol.StatusOK, nil},
		{"who may not write", set(a, "1"), protocol.StatusForbidden, figures{"refusals_forbidden": 1}},
		{"a user", hello("anna", "s3cret"), protocol.StatusOK, nil},
		{"a set", set(a, "12345"), protocol.StatusOK, figures{"set_ops": 1, "keys": 1, "value_bytes": 5}},
		{"another", set(a, "123"), protocol.StatusOK, figures{"set_ops": 1, "value_bytes": ^uint64(1), "history_versions": 1}},
		{"several", protocol.AppendMSet(nil, 1, protocol.Pair{Key: a}, protocol.Pair{Key: b, Value: []byte("1")}), protocol.StatusOK,
			figures{"set_ops": 2, "keys": 1, "value_bytes": ^uint64(1), "history_versions": 1}},
		{"more than the history has room for", set(a, "xy"), protocol.StatusOK, figures{"set_ops": 1, "value_bytes": 2}},
		{"a hit", get(a), protocol.StatusOK, figures{"get_ops": 1, "hits": 1}},
		{"a miss", get(none), protocol.StatusNotFound, figures{"get_ops": 1, "misses": 1}},
		{"a miss with meta", protocol.Get{Key: none, WithMeta: true}.AppendTo(nil, 1), protocol.StatusNotFound, figures{"get_ops": 1, "misses": 1}},
		{"a version that is not kept", protocol.Get{Key: a, AtVersion: 1}.AppendTo(nil, 1), protocol.StatusNotFound, figures{"get_ops": 1, "misses": 1}},
		{"an MGET", protocol.AppendKeys(nil, protocol.OpMGet, 0, 1, a, none, b, a), protocol.StatusOK, figures{"get_ops": 4, "hits": 3, "misses": 1}},
		{"a transaction", protocol.Txn{Ops: gets(a, none)}.AppendTo(nil, 1), protocol.StatusOK, figures{"get_ops": 2, "hits": 1, "misses": 1}},
		{"a scan", protocol.Scan{}.AppendTo(nil, 1), protocol.StatusOK, nil},
		{"a history", protocol.History{Key: a}.AppendTo(nil, 1), protocol.StatusOK, nil},
		{"a condition", protocol.Set{Key: a, Conditional: true}.AppendTo(nil, 1), protocol.StatusConflict, figures{"conflicts": 1}},
		{"a transaction's", protocol.Txn{Conditions: []protocol.Condition{{Key: a}}, Ops: gets(a)}.AppendTo(nil, 1), protocol.StatusConflict, figures{"conflicts": 1}},
		{"deletions", protocol.AppendKeys(nil, protocol.OpDel, 0, 1, b, none), protocol.StatusOK,
			figures{"del_ops": 2, "keys": ^uint64(0), "value_bytes": ^uint64(0), "history_versions": 2}},
		{"flags", protocol.AppendHeader(nil, protocol.OpPing, 1, 1, 0), protocol.StatusBadRequest, figures{"refusals_bad_request": 1}},
		{"a body", protocol.AppendHeader(nil, protocol.OpSet, 0, 1, 0), protocol.StatusBadRequest, figures{"refusals_bad_request": 1}},
		{"an opcode", protocol.AppendHeader(nil, 0x70, 0, 1, 0), protocol.StatusUnknownOpcode, figures{"refusals_unknown_opcode": 1}},
		{"too large", large, protocol.StatusTooLarge, figures{"refusals_too_large": 1}},
		{"no memory", protocol.AppendKeys(nil, protocol.OpMGet, 0, 1, make([][]byte, 15_000)...), protocol.StatusOutOfMemory, figures{"refusals_out_of_memory": 1}},
		{"no data folder", protocol.AppendHeader(nil, protocol.OpSnapshot, 0, 1, 0), protocol.StatusUnavailable, figures{"refusals_unavailable": 1}},
	}
	// Not computed: they are what they are. Each has its own look below.
	other := []string{"memory_bytes", "data_memory_bytes", "waiting_memory_bytes", "uptime_seconds", "goroutines"}

	o := nettest.Options{
		Store: store.Options{History: 2, MaxMemory: 4 << 20},
		Config: netserver.Config{
			Limit: 1 << 20, MemoryLimit: 4 << 20, RequestMemory: 800_000, MaxConnections: 2,
			Accounts: nettest.Accounts(t, "anna", "rw", "s3cret", "reader", "ro", "r"),
		},
	}
	nettest.Each(t, o, func(t *testing.T, s *nettest.Server) {
		all := func() map[string]uint64 {
			got := make(map[string]uint64)
			for _, st := range s.Stats() {
				got[st.Name] = st.Value
			}
			for _, name := range other {
				delete(got, name)
			}
			return got
		}
		want := figures{"memory_limit_bytes": 4 << 20, "history_depth": 2, "request_limit_bytes": uint64(s.Server.Limit())}
		for name := range all() {
			want[name] += 0
		}
		check := func(name string) { t.Helper(); require.Equal(t, map[string]uint64(want), all(), name) }
		check("at first")

		c := s.Dial(t)
		want["connections"], want["connections_total"] = 1, 1
		s.AwaitConnections(1)
		for _, step := range steps {
			got := c.Do(step.sent)
			require.Equal(t, step.status, got.Status(), step.name)
			s.AwaitRequests()
			want["requests"]++
			want["bytes_in"] += uint64(len(step.sent))
			want["bytes_out"] += uint64(protocol.HeaderSize + len(got.Body))
			for name, n := range step.adds {
				want[name] += n
			}
			check(step.name)
		}
		for _, step := range steps {
			for name := range step.adds {
				require.NotZero(t, want[name], "nothing counts %s", name)
			}
		}

		// While a request has come in part, its bytes are held.
		part := ping(1, string(make([]byte, 500_000)))
		c.Send(part[:400_000])
		want["bytes_in"] += 400_000
		s.Await("bytes_in", want["bytes_in"])
		require.Positive(t, s.Stat("request_memory_bytes"))
		c.Send(part[400_000:])
		c.Expect(protocol.OpPing, protocol.StatusOK, 1)
		want["bytes_in"] += uint64(len(part) - 400_000)
		want["bytes_out"] += uint64(len(part))
		want["requests"]++
		s.AwaitRequests()
		check("a large request")

		// Expired and evicted: when they go is the store's, what is left is told.
		require.Equal(t, protocol.StatusOK, c.Do(protocol.Set{Key: b, TTL: 1}.AppendTo(nil, 1)).Status())
		s.Await("expired", 1)
		require.EqualValues(t, 1, s.Stat("keys"))
		const withPast = 300
		for i := range withPast {
			for range 3 {
				require.Equal(t, protocol.StatusOK, c.Do(set(fmt.Append(nil, "past", i), string(make([]byte, 1000)))).Status())
			}
		}
		versions := s.Stat("history_versions")
		filled := 0
		for s.Stat("history_evicted") == 0 {
			filled++
			require.Equal(t, protocol.StatusOK, c.Do(set(fmt.Append(nil, filled), string(make([]byte, 1000)))).Status())
		}
		require.Equal(t, versions, s.Stat("history_versions")+s.Stat("history_evicted"))
		require.EqualValues(t, 1+withPast+filled, s.Stat("keys"))

		// Connections that end keep what they moved; one too many is refused.
		require.Equal(t, protocol.StatusOK, s.Dial(t).Do(hello("anna", "s3cret")).Status())
		s.Dial(t).Expect(0, protocol.StatusUnavailable, 0)
		require.EqualValues(t, 2, s.Stat("connections_total"))
		require.EqualValues(t, 1, s.Stat("connections_refused"))
		in, out := s.Stat("bytes_in"), s.Stat("bytes_out")
		require.NoError(t, c.Close())
		s.AwaitConnections(1)
		require.Equal(t, []uint64{in, out}, []uint64{s.Stat("bytes_in"), s.Stat("bytes_out")})

		require.EqualValues(t, s.Store.Stats().MemoryBytes, s.Stat("data_memory_bytes"))
		require.Equal(t, s.Stat("data_memory_bytes")+s.Stat("request_memory_bytes")+s.Stat("output_memory_bytes"), s.Stat("memory_bytes"))
		require.LessOrEqual(t, s.Stat("memory_bytes"), s.Stat("memory_limit_bytes"))
		require.Less(t, s.Stat("uptime_seconds"), uint64(3600))
		require.InDelta(t, runtime.NumGoroutine(), s.Stat("goroutines"), 10)
		require.Equal(t, s.Stat("requests"), s.Latency().Count)
	})
}

// TestFiguresAreDescribed: each has its place in the protocol's table, in its order.
func TestFiguresAreDescribed(t *testing.T) {
	s := nettest.Start(t, nettest.Options{})
	at := 0
	for _, st := range s.Stats() {
		f, ok := protocol.FigureOf(st.Name)
		require.True(t, ok, "%s is not in protocol.Figures", st.Name)
		i := slices.Index(protocol.Figures(), f)
		require.GreaterOrEqual(t, i, at, "%s is not in the order of protocol.Figures", st.Name)
		at = i
	}
}

// TestLatency: a request counts once, whatever came with it, and the wait for the disk is in it.
func TestLatency(t *testing.T) {
	j := &journal{}
	s := nettest.Start(t, nettest.Options{Store: store.Options{Journal: j}})
	c := s.Dial(t)
	batch := every()
	c.Send(batch...)
	expectAll(t, c, batch)
	before := s.Latency()
	require.EqualValues(t, len(batch), before.Count)

	release := j.hold()
	sent := s.Stat("bytes_in")
	write := protocol.Set{Key: []byte("k")}.AppendTo(nil, 1)
	c.Send(write)
	s.Await("bytes_in", sent+uint64(len(write)))
	waited := s.Stat("uptime_seconds")
	s.Await("uptime_seconds", waited+2) // so at least one second
	require.Equal(t, before.Count, s.Latency().Count)
	release()
	c.Expect(protocol.OpSet, protocol.StatusOK, 1)
	after := s.Latency()
	require.Equal(t, before.Count+1, after.Count)
	require.GreaterOrEqual(t, after.Seconds, before.Seconds+1)
	require.Equal(t, before.Buckets[0.5], after.Buckets[0.5], "it took more than a second")
	last := uint64(0)
	for _, bound := range slices.Sorted(maps.Keys(after.Buckets)) {
		require.GreaterOrEqual(t, after.Buckets[bound], last, "buckets are cumulative")
		last = after.Buckets[bound]
	}
	require.LessOrEqual(t, last, after.Count)
}
