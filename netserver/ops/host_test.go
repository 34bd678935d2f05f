package ops_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/ops"
)

// TestForeignPages: a web page that somebody else made reaches nothing, whatever name it has for this server. Who asks from
// another machine gets health and metrics where the listener lets him, by any name, and no profiles.
func TestForeignPages(t *testing.T) {
	h := ops.Handler(ops.Config{Server: func() *netserver.Server { return nil }, Ready: func() error { return nil }})
	machine, err := os.Hostname()
	require.NoError(t, err)
	const (
		ok, forbidden = http.StatusOK, http.StatusForbidden
		loopback      = "127.0.0.1:7071"
		outside       = "10.1.2.3:7071"
	)
	for _, tt := range []struct {
		host, site, at    string
		metrics, profiles int
	}{
		{"127.0.0.1:7071", "", loopback, ok, ok},
		{"127.0.0.1", "", loopback, ok, ok},
		{"[::1]:7071", "", "[::1]:7071", ok, ok},
		{"[::1]", "", "[::1]:7071", ok, ok},
		{"localhost:7071", "", loopback, ok, ok},
		{"LOCALHOST.:7071", "none", loopback, ok, ok},
		{"kv.localhost", "same-origin", loopback, ok, ok},
		{machine + ":7071", "", loopback, ok, ok},
		{"", "", loopback, ok, ok}, // HTTP/1.0
		{"evil.example", "", loopback, forbidden, forbidden},
		{"evil.example:7071", "", loopback, forbidden, forbidden},
		{"evil.example:7071", "same-origin", "[::1]:7071", forbidden, forbidden},
		{"evil.example:7071", "", "[::ffff:127.0.0.1]:7071", forbidden, forbidden},
		{"127.0.0.1.evil.example", "", loopback, forbidden, forbidden},
		{"localhost.evil.example", "", loopback, forbidden, forbidden},
		{"notlocalhost", "", loopback, forbidden, forbidden},
		{"127.0.0.1:7071:1", "", loopback, forbidden, forbidden},
		{"evil.example", "", "", forbidden, forbidden}, // a connection that says nothing of itself
		{"127.0.0.1:7071", "cross-site", loopback, forbidden, forbidden},
		{"localhost:7071", "same-site", loopback, forbidden, forbidden},
		{"10.1.2.3:7071", "", outside, ok, forbidden},
		{"localhost:7071", "", outside, ok, forbidden},
		{"kv.internal:7071", "", outside, ok, forbidden},
		{"kv.internal:7071", "cross-site", outside, forbidden, forbidden},
	} {
		for path, want := range map[string]int{
			"/metrics": tt.metrics, "/livez": tt.metrics, "/healthz": tt.metrics, "/readyz": tt.metrics,
			"/debug/pprof/": tt.profiles, "/debug/pprof/cmdline": tt.profiles, "/debug/pprof/heap": tt.profiles, "/debug/pprof/symbol": tt.profiles,
		} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = tt.host
			if tt.site != "" {
				r.Header.Set("Sec-Fetch-Site", tt.site)
			}
			if tt.at != "" {
				a, err := net.ResolveTCPAddr("tcp", tt.at)
				require.NoError(t, err)
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(a)))
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, want, w.Code, "%s: %+v", path, tt)
		}
	}
}

// TestProfilesBehindAProxy: a proxy on this machine asks by a loopback address for others; one that says so gets no
// profiles for them.
func TestProfilesBehindAProxy(t *testing.T) {
	h := ops.Handler(ops.Config{Server: func() *netserver.Server { return nil }, Ready: func() error { return nil }})
	at := &net.TCPAddr{IP: net.IPv6loopback, Port: 7071}
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "Via"} {
		for path, want := range map[string]int{"/healthz": http.StatusOK, "/metrics": http.StatusOK,
			"/debug/pprof/cmdline": http.StatusForbidden} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = "localhost"
			r.Header.Set(header, "10.1.2.3")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(at))))
			require.Equal(t, want, w.Code, "%s with %s", path, header)
		}
	}
}
