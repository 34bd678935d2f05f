package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/netserver/rest"
	"kv/store"
)

// api is a server that is asked over HTTP.
type api struct {
	*nettest.Server
	t    *testing.T
	addr string // of its HTTP
	http *http.Client
}

// serve starts a server that runs until the test ends.
func serve(t *testing.T, o nettest.Options, change ...func(*rest.Config)) *api {
	t.Helper()
	return serveAt(t, nettest.Start(t, o), change...)
}

// serveAt serves HTTP beside a server.
func serveAt(t *testing.T, s *nettest.Server, change ...func(*rest.Config)) *api {
	t.Helper()
	c := rest.Config{
		Server: func() *netserver.Server { return s.Server },
		Logger: slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&c)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	// As kvd has it: deadlines for the other pages, which must not be those of this.
	web := &http.Server{Handler: rest.Handler(c), ReadHeaderTimeout: nettest.Timeout, ReadTimeout: nettest.Timeout,
		WriteTimeout: nettest.Timeout, MaxHeaderBytes: 64 << 10}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	a := &api{Server: s, t: t, addr: l.Addr().String(),
		http: &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: nettest.Timeout}}
	t.Cleanup(func() {
		a.http.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), nettest.Timeout)
		defer cancel()
		require.NoError(t, web.Shutdown(ctx), "a connection was left behind")
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return a
}

// response is what a request was answered with.
type response struct {
	*http.Response
	body string
}

// do sends a request, with headers as pairs of name and value.
func (a *api) do(method, target, body string, headers ...string) response {
	a.t.Helper()
	r, err := a.try(method, target, strings.NewReader(body), headers...)
	require.NoError(a.t, err, "%s %s", method, target)
	return r
}

func (a *api) try(method, target string, body io.Reader, headers ...string) (response, error) {
	a.t.Helper()
	if r, ok := body.(*strings.Reader); ok && r.Len() == 0 {
		body = nil
	}
	q, err := http.NewRequest(method, "http://"+a.addr+target, body)
	require.NoError(a.t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			q.Host = headers[i+1]
		} else {
			q.Header.Add(headers[i], headers[i+1])
		}
	}
	r, err := a.http.Do(q)
	if err != nil {
		return response{}, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return response{r, string(b)}, err
}

// post sends a JSON document.
func (a *api) post(target, body string) response {
	a.t.Helper()
	return a.do(http.MethodPost, target, body, "Content-Type", "application/json")
}

// problem checks that the answer is a problem of this status with this in its detail.
func (r response) problem(t *testing.T, status int, detail string) {
	t.Helper()
	require.Equal(t, status, r.StatusCode, r.body)
	require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
	var p struct {
		Title  string
		Status int
		Detail string
	}
	require.NoError(t, json.Unmarshal([]byte(r.body), &p), r.body)
	require.Equal(t, status, p.Status)
	require.Equal(t, http.StatusText(status), p.Title)
	require.Contains(t, p.Detail, detail)
}

// raw opens a connection for what http.Client would not send.
func (a *api) raw() *rawConn {
	nc, err := net.Dial("tcp", a.addr)
	require.NoError(a.t, err)
	require.NoError(a.t, nc.SetDeadline(time.Now().Add(nettest.Timeout)))
	a.t.Cleanup(func() { nc.Close() })
	return &rawConn{nc, a.t}
}

type rawConn struct {
	net.Conn
	t *testing.T
}

func (c *rawConn) send(text string) {
	c.t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(c.t, err)
}

// rest returns all that comes until the server closes the connection.
func (c *rawConn) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		require.NoError(c.t, err)
	}
	return string(b)
}

// session is one of the store, for tests that look behind the server.
type session struct{ *store.Session }

func (a *api) session() session {
	s := a.Store.Session()
	a.t.Cleanup(s.Close)
	return session{s}
}

func (s session) put(key, value string) error {
	_, err := s.Set([]byte(key), []byte(value), store.SetOptions{})
	return err
}
