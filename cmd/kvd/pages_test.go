package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPagesAreLimited: a new connection to --http takes the place of one that is idle; where all are busy it is told
// so, and served again when one is done.
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
		// An answer may be there before its connection counts as idle, or as closed.
		answered := func(status int, says string) {
			require.Eventually(t, func() bool {
				code, body, err := ask("/")
				return err == nil && code == status && body == says
			}, 20*time.Second, time.Millisecond)
		}
		for range 2 * limit { // each leaves an idle connection
			answered(http.StatusOK, "served")
		}
		serving := limit - max(1, limit/8)
		slow := make(chan struct{}, serving)
		for range serving {
			go func() {
				for code := 0; code != http.StatusOK; {
					code, _, _ = ask("/slow")
				}
				slow <- struct{}{}
			}()
			<-busy
		}
		for range 3 * limit {
			answered(http.StatusServiceUnavailable, "too many connections: nothing was applied\n")
		}
		// Where all who can be told so are there, and ask for nothing, the others are told at once.
		const more = 3
		var quiet []net.Conn
		turned := make(chan string, limit)
		for range limit - serving + more {
			nc, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			quiet = append(quiet, nc)
			go func() {
				if text, _ := io.ReadAll(nc); len(text) > 0 {
					turned <- string(text)
				}
			}()
		}
		for range more {
			r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(<-turned)), nil)
			require.NoError(t, err)
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.Equal(t, http.StatusServiceUnavailable, r.StatusCode)
			require.Equal(t, "too many connections: nothing was applied\n", string(body))
			require.True(t, r.Close)
		}
		for _, nc := range quiet {
			nc.Close()
		}
		close(end)
		for range serving {
			<-slow
		}
		answered(http.StatusOK, "served")
		require.NoError(t, pages.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	}
}
