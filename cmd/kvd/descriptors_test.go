//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

func TestDivideDescriptors(t *testing.T) {
	for _, tt := range []struct {
		descriptors, clients int
		pages                bool
		want                 connectionLimits
	}{
		{math.MaxInt, 10_000, true, connectionLimits{10_000, 625}},
		{10_721, 10_000, true, connectionLimits{10_000, 625}},
		{10_720, 10_000, true, connectionLimits{9999, 625}},
		{1024, 10_000, false, connectionLimits{928, 0}},
		{1024, 10_000, true, connectionLimits{864, 64}},
		{64, 10_000, true, connectionLimits{20, 4}},
		{64, 10, true, connectionLimits{10, 4}},
		{leastDescriptors, 10_000, true, connectionLimits{1, 4}},
	} {
		l, ok := divideDescriptors(tt.descriptors, tt.clients, tt.pages)
		require.True(t, ok)
		require.Equal(t, tt.want, l, "%+v", tt)
	}
	_, ok := divideDescriptors(leastDescriptors-1, 10_000, true)
	require.False(t, ok)
}

// TestConnectionsFor: in a small group there are fewer connections than by default, unless --max-memory leaves room for them.
func TestConnectionsFor(t *testing.T) {
	for _, tt := range []struct {
		memory, granted int64
		secure          bool
		connections     int
	}{
		{21 << 20, 64 << 20, false, 1024},
		{161 << 20, 300 << 20, false, 6112},
		{256 << 20, 512 << 20, false, 16_384},
		{704 << 20, 1 << 30, false, 16_384},
		{704 << 20, 1 << 30, true, 3276},
		{48 << 30, 64 << 30, true, 209_715},
	} {
		require.InEpsilon(t, tt.connections, connectionsFor(tt.memory, tt.granted, tt.secure), 0.01, "%+v", tt)
	}
}

// limited is a script that runs kvd with so many descriptors.
func limited(t *testing.T, descriptors int) string {
	name := filepath.Join(t.TempDir(), "kvd")
	require.NoError(t, os.WriteFile(name, fmt.Appendf(nil, "#!/bin/sh\nulimit -n %d && exec kvd \"$@\"\n", descriptors), 0o755))
	return name
}

// TestFewDescriptors: however many clients there are, and readers of the pages, what files need is there.
func TestFewDescriptors(t *testing.T) {
	p := startBinary(t, limited(t, 64), "--data", filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0")
	c := p.mustDial(client.Options{})
	var idle []net.Conn
	for _, addr := range []string{p.addr, strings.TrimPrefix(p.http, "http://")} {
		for range 100 {
			nc, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			t.Cleanup(func() { nc.Close() })
			idle = append(idle, nc)
			if addr != p.addr { // one that is kept alive after a request
				fmt.Fprintf(nc, "GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n", addr)
				r, err := http.ReadResponse(bufio.NewReader(nc), nil)
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, r.StatusCode)
			}
		}
	}
	require.Len(t, idle, 200)
	for i := range 10 {
		_, err := c.Set(t.Context(), protocol.Set{Key: fmt.Append(nil, i)})
		require.NoError(t, err)
		_, err = c.Snapshot(t.Context())
		require.NoError(t, err)
	}
	require.LessOrEqual(t, stat(t, c, "connections"), uint64(20))
	status, body := p.get("/readyz")
	require.Equal(t, http.StatusOK, status, body)
	p.stop(syscall.SIGTERM)

	out, code := runBinary(t, limited(t, leastDescriptors-1), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
	require.Equal(t, exitUsage, code)
	require.Contains(t, out, fmt.Sprintf("raise it (ulimit -Hn) to %d at least", leastDescriptors))
}

// TestConnectionsAreLowered: the warnings that tell of less than --max-connections have what was asked for, not what another
// warning had left of it.
func TestConnectionsAreLowered(t *testing.T) {
	var out bytes.Buffer
	o := options{maxConnections: 99_999_999_999, maxMemory: size(1 << 30)}
	limits, err := connectionLimit(o, 64<<40, slog.New(slog.NewTextHandler(&out, nil)))
	require.NoError(t, err)
	require.Less(t, limits.clients, o.maxConnections)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Contains(t, lines[0], "what there is memory for") // and on most systems there is a second, of descriptors
	for _, line := range lines {
		require.Contains(t, line, " asked=99999999999")
	}
}
