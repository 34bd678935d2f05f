package main

import (
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPagesAreLimited: a new connection to --http takes the place of one that is idle; where all are busy it is told so, and served again when one is
// done.
func TestPagesAreLimited(t *testing.T) {
	for _, limit := range []int{4, 64} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		busy, end := make(chan struct{}), make(chan struct{})
		pages := newPages(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				busy <- struct{}{}
				<-end
			}
			io.WriteString(w, "served")
		}), limit)
		served := make(chan error, 1)
		go func() { served <- pages.Serve(l) }()
		ask := func(path string) (int, string, error) {
			c := http.Client{Transport: new(http.Transport)} // connections of its own, which stay
			r, err := c.Get("http://" + l.Addr().String() + path)
			if err != nil {
				return 0, "", err
			}
			defer r.Body.Close()
			body, err := io.ReadAll(r.Body)
			return r.StatusCode, string(body), err
		}
		for range 2 * limit { // each leaves an idle connection
			code, body, err := ask("/")
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, code, body)
		}
		serving := limit - max(1, limit/8)
		slow := make(chan int, serving)
		for range serving {
			go func() {
				code, _, _ := ask("/slow")
				slow <- code
			}()
			<-busy
		}
		for range 3 * limit {
			code, body, err := ask("/")
			require.NoError(t, err)
			require.Equal(t, http.StatusServiceUnavailable, code)
			require.Equal(t, "too many connections\n", body)
		}
		close(end)
		for range serving {
			require.Equal(t, http.StatusOK, <-slow)
		}
		code, body, err := ask("/")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, code, body)
		require.NoError(t, pages.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	}
}
