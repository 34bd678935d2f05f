package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// ask sends a request to the HTTP API.
func (p *process) ask(method, path, body, authorization string) (status int, answer string) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.http+path, strings.NewReader(body))
	require.NoError(p.t, err)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	a, err := http.DefaultClient.Do(r)
	require.NoError(p.t, err)
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	require.NoError(p.t, err)
	return a.StatusCode, string(b)
}

// TestHTTPAPI: what is written by HTTP is read by kv frames, the other way round, and after a restart. Paths are taken
// as they are.
func TestHTTPAPI(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "--data", dir, "--http", "127.0.0.1:0")
	status, body := p.ask("PUT", "/v1/keys/a%2F%2Fb", "1", "")
	require.Equal(t, http.StatusCreated, status, body)
	c := p.mustDial(client.Options{})
	v, err := c.Get(t.Context(), []byte("a//b"))
	require.NoError(t, err)
	require.Equal(t, "1", string(v.Data))
	_, err = c.Set(t.Context(), protocol.Set{Key: []byte("b"), Value: []byte("2")})
	require.NoError(t, err)
	_, body = p.ask("GET", "/v1/keys/b", "", "")
	require.Equal(t, "2", body)
	status, _ = p.ask("GET", "/v1//keys/b", "", "")
	require.Equal(t, http.StatusNotFound, status)
	require.NoError(t, c.Close())
	p.stop(syscall.SIGTERM)

	p = start(t, "--data", dir, "--http", "127.0.0.1:0")
	_, body = p.ask("GET", "/v1/keys/a%2F%2Fb", "", "")
	require.Equal(t, "1", body)
	p.stop(syscall.SIGTERM)
}

// TestHTTPAPIForWhom: users are asked for their secrets, as they are in the file at the time; without any, only the
// machine itself is served. Where certificates let in, or nobody wants it, there is none.
func TestHTTPAPIForWhom(t *testing.T) {
	dir := t.TempDir()
	users, cert, key := filepath.Join(dir, "users"), filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	writeUsers(t, users, "anna", "rw", "one")
	writeCertificate(t, cert, key)

	p := start(t, "--auth-file", users, "--http", "127.0.0.1:0")
	for authorization, want := range map[string]int{"": 401, "Bearer one": 200, "Bearer two": 401} {
		status, _ := p.ask("GET", "/v1/stats", "", authorization)
		require.Equal(t, want, status, authorization)
	}
	writeUsers(t, users, "anna", "ro", "two")
	p.hangUp("users and certificates were read again")
	for authorization, want := range map[string]int{"Bearer one": 401, "Bearer two": 403} {
		status, _ := p.ask("PUT", "/v1/keys/k", "v", authorization)
		require.Equal(t, want, status, authorization)
	}
	p.stop(syscall.SIGTERM)

	for _, args := range [][]string{{"--http-api=false"}, {"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", cert}} {
		p = start(t, append([]string{"--http", "127.0.0.1:0"}, args...)...)
		status, _ := p.ask("GET", "/v1/keys", "", "")
		require.Equal(t, http.StatusNotFound, status)
		status, _ = p.ask("GET", "/healthz", "", "")
		require.Equal(t, http.StatusOK, status)
		p.stop(syscall.SIGTERM)
	}

	// Whatever else is open to everyone.
	p = start(t, "--http", ":0", "--insecure")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.http, "http://"))
	require.NoError(t, err)
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		want := http.StatusForbidden
		if ip := a.(*net.IPNet).IP; ip.IsLoopback() {
			want = http.StatusOK
		} else if !ip.IsGlobalUnicast() {
			continue
		}
		p.http = "http://" + net.JoinHostPort(a.(*net.IPNet).IP.String(), port)
		status, _ := p.ask("GET", "/v1/stats", "", "")
		require.Equal(t, want, status, a)
	}
	p.stop(syscall.SIGTERM)
}

// TestHTTPAPIWhileItEnds: a list that is under way when the end comes is cut off once --drain is over, and the end is in order.
func TestHTTPAPIWhileItEnds(t *testing.T) {
	p := start(t, "--http", "127.0.0.1:0", "--drain", "100ms")
	c := p.mustDial(client.Options{})
	for i := range 40 {
		_, err := c.Set(t.Context(), protocol.Set{Key: []byte{byte(i)}, Value: make([]byte, 1<<20)})
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.http+"/v1/keys", nil)
	require.NoError(t, err)
	a, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer a.Body.Close()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.await("connections were cut off")
	p.await("stopped")
	_, err = io.Copy(io.Discard, a.Body)
	require.Error(t, err, "the list looks whole")
	require.NoError(t, p.cmd.Wait())
}
