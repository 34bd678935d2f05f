package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"kv/netserver/ops"
	"kv/netserver/rest"
)

// listenHTTP takes the address of --http; nil: there is none.
func listenHTTP(o options) (net.Listener, error) {
	if o.http == "" {
		return nil, nil
	}
	l, err := listenOn(string(o.http), o.unixMode)
	if err != nil {
		return nil, failed(exitListen, fmt.Errorf("--http: %w", err))
	}
	return l, nil
}

// servePages serves all that is on --http, on at most so many connections at a time, until stop is called. Here is the one place
// where its paths come together. api may be nil.
func servePages(l net.Listener, shown ops.Config, api *rest.Config, connections int, log *slog.Logger) (stop func()) {
	handler := ops.Handler(shown)
	if api != nil {
		handler = beside(rest.Handler(*api), handler)
	}
	pages := newPages(handler, connections)
	go func() {
		if err := pages.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the pages of --http are not served any more", "error", err)
		}
	}()
	at := "http://" + l.Addr().String()
	if l.Addr().Network() == "unix" {
		at = shownAddress(l) + " "
	}
	log.Info("metrics on " + at + "/metrics")
	return func() { pages.Close() }
}

// beside has api answer what is below /v1/, and others the rest. A ServeMux would clean the paths first, and so take one key for
// another.
func beside(api, others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.EscapedPath(), "/v1/") {
			api.ServeHTTP(w, r)
		} else {
			others.ServeHTTP(w, r)
		}
	})
}

// The pages' limits: who reads them asks now and then, and is quick. A profile may take a minute. The API
// has its own for bodies and answers.
const (
	pagesIdle    = 30 * time.Second
	pagesRead    = 10 * time.Second
	pagesWrite   = 2 * time.Minute
	pagesHeaders = 16 << 10
)

// newPages serves handler on at most so many connections at a time. One that is not used makes room for a new one.
func newPages(handler http.Handler, connections int) *http.Server {
	d := &doorman{limit: connections, idle: make(map[net.Conn]time.Time), busy: make(map[net.Conn]struct{})}
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: pagesRead,
		ReadTimeout:       pagesRead,
		WriteTimeout:      pagesWrite,
		IdleTimeout:       pagesIdle,
		MaxHeaderBytes:    pagesHeaders,
		ConnState:         d.changed,
	}
}

// doorman keeps the number of a server's connections to a limit.
type doorman struct {
	limit int // fixed

	mu   sync.Mutex             // guards what follows
	idle map[net.Conn]time.Time // those that no request is answered on, and since when
	busy map[net.Conn]struct{}
}

// changed is the server's ConnState.
func (d *doorman) changed(nc net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.idle, nc)
	delete(d.busy, nc)
	switch state {
	case http.StateActive:
		d.busy[nc] = struct{}{}
	case http.StateNew, http.StateIdle:
		d.idle[nc] = time.Now()
	}
	if state == http.StateNew && len(d.idle)+len(d.busy) > d.limit {
		d.closeOldest()
	}
}

// closeOldest closes the connection that has been idle for longest; it may be the newest of all.
func (d *doorman) closeOldest() {
	var oldest net.Conn
	for nc, since := range d.idle {
		if oldest == nil || since.Before(d.idle[oldest]) {
			oldest = nc
		}
	}
	delete(d.idle, oldest)
	oldest.Close()
}
