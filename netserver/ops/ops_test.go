package ops_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/netserver/ops"
	"kv/protocol"
)

func get(h http.Handler, path string) (status int, body string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7071}
	h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, at)))
	return w.Code, w.Body.String()
}

func TestPages(t *testing.T) {
	s := nettest.Start(t, nettest.Options{})
	c := s.Dial(t)
	c.Do(protocol.Set{Key: []byte("secret-key"), Value: []byte("secret-value")}.AppendTo(nil, 1))
	c.Do(protocol.Get{Key: []byte("secret-key")}.AppendTo(nil, 2))
	broken := errors.New("loading 3 of 9 bytes")
	var server *netserver.Server
	h := ops.Handler(ops.Config{
		Server:  func() *netserver.Server { return server },
		Ready:   func() error { return broken },
		Version: "v1.2.3",
	})

	// Before there is a server.
	status, body := get(h, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "loading 3 of 9 bytes\n", body)
	status, _ = get(h, "/livez")
	require.Equal(t, http.StatusOK, status)
	status, body = get(h, "/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "go_goroutines")
	require.NotContains(t, body, "\nkv_keys")

	server, broken = s.Server, nil
	status, body = get(h, "/metrics")
	require.Equal(t, http.StatusOK, status)
	for _, line := range []string{
		"kv_keys 1\n", "kv_set_ops_total 1\n", "kv_get_ops_total 1\n", "kv_connections 1\n",
		"# TYPE kv_keys gauge\n", "# TYPE kv_get_ops_total counter\n", "# TYPE kv_bytes_in_total counter\n",
		"kv_hits_total 1\n", "kv_misses_total 0\n", "kv_connections_total 1\n", "kv_login_failures_total 0\n",
		"# TYPE kv_refusals_total counter\n", `kv_refusals_total{status="OUT_OF_MEMORY"} 0` + "\n",
		"# TYPE kv_request_seconds histogram\n", `kv_request_seconds_bucket{le="2.5e-05"}`, "kv_request_seconds_count 2\n",
		`kv_build_info{go_version="` + runtime.Version() + `",version="v1.2.3"} 1` + "\n",
		"process_open_fds", "go_goroutines", "go_gc_heap_live_bytes",
	} {
		require.Contains(t, body, line)
	}
	require.NotContains(t, body, "_total_total")
	for _, f := range protocol.Figures() {
		if !strings.HasPrefix(f.Name, "refusals_") && strings.Contains(body, " kv_"+f.Name) {
			require.Contains(t, body, f.Help+"\n", "what kv_%s is", f.Name)
		}
	}
	require.NotContains(t, body, "of STATS\n", "a figure that protocol.Figures does not describe")
	require.NotContains(t, body, "secret-")

	for _, path := range []string{"/livez", "/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		status, _ := get(h, path)
		require.Equal(t, http.StatusOK, status, path)
	}

	broken = errors.New("read-only: the disk failed")
	status, body = get(h, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "the disk failed")

	broken = nil
	s.Shutdown()
	status, body = get(h, "/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "shutting down")
	status, _ = get(h, "/livez")
	require.Equal(t, http.StatusOK, status)
}
