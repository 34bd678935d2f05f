package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"kv/netserver/ops"
	"kv/netserver/rest"
	"kv/protocol"
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

// newPages serves handler on at most so many connections at a time. One that is not used makes room for a new one;
// where all are, the last eighth of them is told 503 when its request has come, and what is beyond that at once.
func newPages(handler http.Handler, connections int) *http.Server {
	d := &doorman{limit: connections, idle: make(map[net.Conn]time.Time), busy: make(map[net.Conn]struct{}),
		over: make(map[net.Conn]struct{})}
	return &http.Server{
		Handler:           d.handler(handler),
		ReadHeaderTimeout: pagesRead,
		ReadTimeout:       pagesRead,
		WriteTimeout:      pagesWrite,
		IdleTimeout:       pagesIdle,
		MaxHeaderBytes:    pagesHeaders,
		ConnState:         d.changed,
		ConnContext:       func(ctx context.Context, nc net.Conn) context.Context { return context.WithValue(ctx, connKey{}, nc) },
	}
}

// doorman keeps the number of a server's connections to a limit.
type doorman struct {
	limit int // fixed

	mu   sync.Mutex             // guards what follows
	idle map[net.Conn]time.Time // connections without a request, and since when
	busy map[net.Conn]struct{}
	over map[net.Conn]struct{} // connections that are told that there are too many
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// told is how many may be told at a time that there are too many, of the limit.
func (d *doorman) told() int { return max(1, d.limit/8) }

// handler is h for those who are served.
func (d *doorman) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _ := r.Context().Value(connKey{}).(net.Conn)
		d.mu.Lock()
		_, over := d.over[nc]
		d.mu.Unlock()
		if over {
			w.Header().Set("Connection", "close")
			w.Header().Set("Retry-After", "1")
			http.Error(w, tooMany, http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// changed is the server's ConnState.
func (d *doorman) changed(nc net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, over := d.over[nc]; over {
		if state == http.StateClosed || state == http.StateHijacked {
			delete(d.over, nc)
		}
		return
	}
	delete(d.idle, nc)
	delete(d.busy, nc)
	switch state {
	case http.StateActive:
		d.busy[nc] = struct{}{}
	case http.StateIdle:
		d.idle[nc] = time.Now()
	case http.StateNew:
		d.admit(nc)
	}
}

// tooMany is what a client is told for whose connection there is no place.
const tooMany = "too many connections: " + protocol.MessageNothingApplied

// turnedAway is that where there is no place even to read what the client asks for.
var turnedAway = fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: %d\r\n"+
	"Content-Type: text/plain; charset=utf-8\r\nRetry-After: 1\r\n\r\n%s\n", len(tooMany)+1, tooMany)

// turnedAwayWithin is how long that may take: the system takes it at once, since nothing was sent on the connection.
const turnedAwayWithin = 10 * time.Millisecond

// admit finds a place for a new connection, or closes it.
func (d *doorman) admit(nc net.Conn) {
	switch {
	case len(d.idle)+len(d.busy) < d.limit-d.told():
	case len(d.idle) > 0:
		d.closeOldest()
	case len(d.over) < d.told():
		d.over[nc] = struct{}{}
		return
	default:
		nc.SetWriteDeadline(time.Now().Add(turnedAwayWithin))
		io.WriteString(nc, turnedAway)
		nc.Close()
		return
	}
	d.idle[nc] = time.Now()
}

// closeOldest closes the connection that has been idle for longest.
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
