package netserver

import (
	"runtime"

	"kv/protocol"
	"kv/store"
)

// Stats returns the figures that STATS answers with.
func (s *Server) Stats() []protocol.Stat {
	return s.figures(s.config.Store.Stats())
}

// Memory returns how many bytes data, requests and answers take.
func (s *Server) Memory() uint64 {
	return s.config.Store.Stats().MemoryBytes + uint64(s.requests.used.Load()+s.output.used.Load())
}

// figures adds the server's figures to the store's. The names are part of the protocol, whose table says what each is:
// more may come, none may go.
func (s *Server) figures(st store.Stats) []protocol.Stat {
	s.mu.Lock()
	open, accepted, refused, in, out := len(s.conns), s.accepted, s.refused, s.closedIn, s.closedOut
	for c := range s.conns {
		in += c.bytesIn.Load()
		out += c.bytesOut.Load()
	}
	s.mu.Unlock()
	answered := func(status protocol.Status) uint64 { return s.answered[status].Load() }
	requests, output := uint64(s.requests.used.Load()), uint64(s.output.used.Load())
	counted, uncounted := st.MemoryBytes+requests+output, uint64(0)
	if f := s.config.Uncounted; f != nil {
		uncounted = uint64(max(f(int64(counted)), 0))
	}
	all := []protocol.Stat{
		{Name: "keys", Value: st.Keys},
		{Name: "value_bytes", Value: st.ValueBytes},
		{Name: "get_ops", Value: st.GetOps},
		{Name: "hits", Value: st.GetOps - st.Misses},
		{Name: "misses", Value: st.Misses},
		{Name: "set_ops", Value: st.SetOps},
		{Name: "del_ops", Value: st.DelOps},
		{Name: "expired", Value: st.Expired},
		{Name: "expiring_keys", Value: st.Expiring},
		{Name: "evicted", Value: st.EvictedKeys},
		{Name: "memory_bytes", Value: counted + uncounted},
		{Name: "memory_limit_bytes", Value: uint64(s.config.MemoryLimit)},
		{Name: "history_depth", Value: uint64(s.config.Store.HistoryDepth())},
		{Name: "history_versions", Value: st.History},
		{Name: "history_evicted", Value: st.Evicted},
		{Name: "request_limit_bytes", Value: uint64(s.config.Limit)},
		{Name: "data_memory_bytes", Value: st.MemoryBytes},
		{Name: "waiting_memory_bytes", Value: st.WaitingBytes},
		{Name: "request_memory_bytes", Value: requests},
		{Name: "output_memory_bytes", Value: output},
		{Name: "connections", Value: uint64(open)},
		{Name: "connections_total", Value: accepted},
		{Name: "connections_refused", Value: refused},
		{Name: "connections_cut_off", Value: s.cutOffs.Load()},
		{Name: "bytes_in", Value: in},
		{Name: "bytes_out", Value: out},
		{Name: "requests", Value: s.latencies.sum().Count},
		{Name: "conflicts", Value: answered(protocol.StatusConflict)},
		{Name: "login_failures", Value: s.loginFailures.Load()},
		{Name: "handshake_failures", Value: s.handshakeFailures.Load()},
		{Name: "refusals_bad_request", Value: answered(protocol.StatusBadRequest)},
		{Name: "refusals_too_large", Value: answered(protocol.StatusTooLarge)},
		{Name: "refusals_out_of_memory", Value: answered(protocol.StatusOutOfMemory)},
		{Name: "refusals_unauthenticated", Value: answered(protocol.StatusUnauthenticated)},
		{Name: "refusals_forbidden", Value: answered(protocol.StatusForbidden)},
		{Name: "refusals_unknown_opcode", Value: answered(protocol.StatusUnknownOpcode)},
		{Name: "refusals_unavailable", Value: answered(protocol.StatusUnavailable)},
		{Name: "refusals_moved", Value: answered(protocol.StatusMoved)},
		{Name: "refusals_stale", Value: answered(protocol.StatusStale)},
		{Name: "refusals_internal", Value: answered(protocol.StatusInternal)},
		{Name: "uptime_seconds", Value: uint64(s.age().Seconds())},
		{Name: "goroutines", Value: uint64(runtime.NumGoroutine())},
	}
	if s.config.Figures != nil {
		all = append(all, s.config.Figures()...)
	}
	return all
}
