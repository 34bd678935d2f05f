package netserver

import (
	"runtime"
	"time"

	"kv/protocol"
	"kv/store"
)

// Stats returns the figures that STATS answers with.
func (s *Server) Stats() []protocol.Stat {
	return s.figures(s.config.Store.Stats())
}

// figures adds the server's figures to the store's. The names are part of the protocol: more may come, none may go.
func (s *Server) figures(st store.Stats) []protocol.Stat {
	s.mu.Lock()
	open, accepted, refused, in, out := len(s.conns), s.accepted, s.refused, s.closedIn, s.closedOut
	for c := range s.conns {
		in += c.bytesIn.Load()
		out += c.bytesOut.Load()
	}
	s.mu.Unlock()
	all := []protocol.Stat{
		{Name: "keys", Value: st.Keys},
		{Name: "value_bytes", Value: st.ValueBytes},
		{Name: "get_ops", Value: st.GetOps},
		{Name: "set_ops", Value: st.SetOps},
		{Name: "del_ops", Value: st.DelOps},
		{Name: "memory_bytes", Value: st.MemoryBytes},
		{Name: "memory_limit_bytes", Value: uint64(s.config.MemoryLimit)},
		{Name: "history_versions", Value: st.History},
		{Name: "request_memory_bytes", Value: uint64(s.requestMemory.Load())},
		{Name: "connections", Value: uint64(open)},
		{Name: "connections_total", Value: accepted},
		{Name: "connections_refused", Value: refused},
		{Name: "bytes_in", Value: in},
		{Name: "bytes_out", Value: out},
		{Name: "login_failures", Value: s.loginFailures.Load()},
		{Name: "uptime_seconds", Value: uint64(time.Since(s.started).Seconds())},
		{Name: "goroutines", Value: uint64(runtime.NumGoroutine())},
	}
	if s.config.Figures != nil {
		all = append(all, s.config.Figures()...)
	}
	return all
}
