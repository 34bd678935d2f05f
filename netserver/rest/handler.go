// Package rest serves a store over HTTP, below /v1/, beside the connections of package netserver: any language has a client for
// it. docs/http.md is the manual, and /v1/openapi.json says the same to programs.
//
// A value is read and written as it is, by GET and PUT of /v1/keys/{key}; its ETag is its version. Requests of many keys, and
// those that do something, are JSON, in the form of package jsonform. What goes wrong is told as RFC 9457 has it.
//
// # What a client may cost
//
// Each request enters the server as any other client does, see netserver.Client: bodies are claimed of Config.RequestMemory of
// the server as they arrive, answers hold Config.OutputMemory until they are sent, nothing leaves before it is durable as far
// as the sync policy promises, and Shutdown waits. A body must arrive, and an answer be taken, at 64 KiB a second, once the
// time is over that everyone has.
//
// # Who may ask
//
// Where the server has accounts, whoever has a user and a secret. Where it has none, whoever is on this machine. A page in a
// browser, other than one that this server itself has given, may nothing, whoever looks at it: see guard.
package rest

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"time"

	"kv/netserver"
	"kv/protocol"
)

// Config is what a handler is made of. Only Server is needed.
type Config struct {
	// Server returns the server, nil while there is none yet, which loads its data: all is 503 then.
	Server func() *netserver.Server
	// Loading says how far that is, for a person; nil: nobody knows.
	Loading func() string
	// BodyTimeout is how long a request's body may take to arrive, and one second more for each 64 KiB of it; 0:
	// netserver.DefaultFrameTimeout.
	BodyTimeout time.Duration
	// WriteTimeout is how long a client may be waited for that takes nothing of its answer; each 64 KiB that it takes count as
	// a second; 0: netserver.DefaultWriteTimeout.
	WriteTimeout time.Duration
	// Logger gets what clients can't be told; nil: nobody does.
	Logger *slog.Logger
}

type handler struct {
	config  Config
	machine string // its name, "" if it has none
}

// Handler serves all paths that begin with /v1/. It needs the http.Server's ReadHeaderTimeout; body and answer it times itself.
func Handler(c Config) http.Handler {
	if c.BodyTimeout == 0 {
		c.BodyTimeout = netserver.DefaultFrameTimeout
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = netserver.DefaultWriteTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	machine, _ := os.Hostname() // without one, no name is the machine's
	return &handler{c, machine}
}

// ServeHTTP answers one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(h, w, r)
	defer x.linger() // when the server has forgotten it
	defer x.leave()
	if err := x.serve(); err != nil {
		// What has been sent is no whole answer. Only the connection's end says so.
		if !errors.Is(err, errGone) {
			h.config.Logger.Debug("an answer was given up", "remote", r.RemoteAddr, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// serve answers the request. The error is that of sending.
func (x *exchange) serve() error {
	a, err := x.find()
	if err == nil {
		return x.answer(a)
	}
	return x.answer(problemOf(err))
}

// find checks the request, and does what it asks for.
func (x *exchange) find() (*answer, error) {
	if err := x.guard(); err != nil {
		return nil, err
	}
	op, err := x.route()
	if err != nil {
		return nil, err
	}
	if op.public {
		return op.run(x)
	}
	if err := x.enter(); err != nil {
		return nil, err
	}
	if err := x.logIn(); err != nil {
		return nil, err
	}
	if a := x.client.Access(); a < netserver.AccessRead || a < netserver.AccessWrite && !op.reads {
		return nil, x.client.Denied(op.name)
	}
	if err := x.checkHeaders(op); err != nil {
		return nil, err
	}
	if op.reads && !op.local {
		if err := x.client.Begin(); err != nil {
			return nil, err
		}
	}
	return op.run(x)
}

// enter makes the request one of the server's.
func (x *exchange) enter() error {
	srv := x.h.config.Server()
	if srv == nil {
		detail := "loading"
		if x.h.config.Loading != nil {
			detail = x.h.config.Loading()
		}
		return &problem{Status: http.StatusServiceUnavailable, Detail: detail + ": " + protocol.MessageNothingApplied}
	}
	client, err := srv.Enter(x.r.RemoteAddr, x.cut)
	if err != nil {
		detail := "the server is shutting down: " + protocol.MessageNothingApplied
		return &problem{Status: http.StatusServiceUnavailable, Detail: detail, closes: true}
	}
	x.server, x.client = srv, client
	return nil
}

// leave gives back what the request had.
func (x *exchange) leave() {
	x.mu.Lock()
	x.left = true
	x.mu.Unlock()
	if x.client != nil {
		x.client.Answered(x.status, x.took)
		if cap(x.buf) > smallBody {
			x.client.GiveBuffer(x.buf)
		}
		x.client.Leave()
	}
}

// operation is what one method of one path does.
type operation struct {
	name   string   // as it is called where somebody may not do it
	reads  bool     // it changes nothing, so users who may only read may do it; a txn that writes is refused once its body is read
	public bool     // its answer tells nothing of the data: everyone may have it
	local  bool     // it tells of this server and not of the data: in a cluster no round of reads comes before it
	query  []string // the parameters that it has
	header []string // the conditional headers that it heeds; a request with another of them is refused
	json   bool     // its body is a JSON document
	body   bool     // it has a body that is no JSON
	run    func(x *exchange) (*answer, error)
}

var (
	reading = []string{"If-Match", "If-None-Match"}
	writing = []string{"If-Match", "If-None-Match", "Kv-Ttl", "Kv-Expiry"}
)

// resource is what stands at a path: what each method does. HEAD is GET without the body.
type resource struct {
	keyed      bool // a key follows, as /v1/keys/{key}
	operations map[string]*operation
}

// The resources, by the path behind /v1/. That of a key is below its own name, so none can be taken for another.
var resources = map[string]resource{
	"keys": {operations: map[string]*operation{
		http.MethodGet: {name: "listing keys", reads: true, query: []string{"prefix", "limit", "cursor", "values"},
			run: (*exchange).list},
	}},
	"keys/": {keyed: true, operations: map[string]*operation{
		http.MethodGet:    {name: "GET", reads: true, query: []string{"encoding", "version"}, header: reading, run: (*exchange).get},
		http.MethodPut:    {name: "PUT", query: []string{"encoding"}, header: writing, body: true, run: (*exchange).put},
		http.MethodDelete: {name: "DELETE", query: []string{"encoding"}, header: reading, run: (*exchange).del},
	}},
	"history/": {keyed: true, operations: map[string]*operation{
		http.MethodGet: {name: "history", reads: true, query: []string{"encoding", "limit"}, run: (*exchange).history},
	}},
	"mget":     post(&operation{name: "mget", reads: true, run: (*exchange).mget}),
	"mset":     post(&operation{name: "mset", run: (*exchange).mset}),
	"delete":   post(&operation{name: "delete", run: (*exchange).mdel}),
	"txn":      post(&operation{name: "txn", reads: true, run: (*exchange).txn}),
	"incr":     post(&operation{name: "incr", run: (*exchange).incr}),
	"expire":   post(&operation{name: "expire", run: (*exchange).expire}),
	"persist":  post(&operation{name: "persist", run: (*exchange).persist}),
	"rollback": post(&operation{name: "rollback", run: (*exchange).rollback}),
	"stats": {operations: map[string]*operation{
		http.MethodGet: {name: "stats", reads: true, local: true, run: (*exchange).stats},
	}},
	"openapi.json": {operations: map[string]*operation{
		http.MethodGet: {name: "openapi.json", public: true, run: (*exchange).openAPI},
	}},
}

func post(o *operation) resource {
	o.json = true
	return resource{operations: map[string]*operation{http.MethodPost: o}}
}
