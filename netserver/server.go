package netserver

import (
	"context"
	"errors"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kv/protocol"
	"kv/store"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("netserver: server closed")

// Server serves one store on any number of listeners.
type Server struct {
	config  Config // fixed
	started time.Time
	idle    sync.Once // starts settleIdle

	// draining is stored once, before the waiting connections are woken, and publishes drains. A connection that is about to
	// wait loads it after everything else, so it sees either the flag or the wake-up.
	draining atomic.Bool
	drains   draining        // how the server drains
	quiet    time.Duration   // quietTime, but in tests; fixed before draining is set
	leave    time.Duration   // leaveTime, likewise
	context  context.Context // ends when draining is set
	drain    context.CancelFunc
	cut      atomic.Bool // draining has taken too long. Stored before the connections are closed, so they end with errDrained

	requests   *pool         // of Config.RequestMemory; see claim
	output     *pool         // of Config.OutputMemory; see Client.hold
	cutting    sync.Mutex    // held by the goroutine that looks for a client to cut off; guards nothing else
	complaints complaints    // about clients
	delayed    chan struct{} // has an element for each failed login whose answer is delayed

	// Counts. They publish nothing.
	cutOffs           atomic.Uint64 // clients that were cut off for want of memory
	loginFailures     atomic.Uint64
	handshakeFailures atomic.Uint64
	answered          [256]atomic.Uint64 // requests by status, without OK and most of NOT_FOUND
	latencies         latencies

	mu        sync.Mutex                 // guards what follows
	listeners map[*net.Listener]struct{} // by a pointer, since a listener need not be comparable
	conns     map[*conn]struct{}
	entered   map[*Client]struct{} // clients without a connection
	clients   uint64               // how many there were so far
	sessions  []*store.Session     // of those that have left, for others
	accepted  uint64               // connections served so far
	refused   uint64               // connections that MaxConnections kept out
	closedIn  uint64               // bytes received on connections that are closed
	closedOut uint64               // bytes sent on them
	refusing  int                  // connections that are being told UNAVAILABLE
	active    sync.WaitGroup       // Serve calls and connections; Add only while draining is not set
}

// New makes a server. It serves nothing before Serve is called.
func New(c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, drain := context.WithCancel(context.Background())
	s := &Server{
		config:    c,
		requests:  newPool(c.RequestMemory),
		output:    newPool(c.OutputMemory),
		delayed:   make(chan struct{}, maxDelayed),
		started:   time.Now(),
		quiet:     quietTime,
		leave:     leaveTime,
		context:   ctx,
		drain:     drain,
		listeners: make(map[*net.Listener]struct{}),
		conns:     make(map[*conn]struct{}),
		entered:   make(map[*Client]struct{}),
	}
	if c.Accounts != nil {
		c.Accounts.watch(s)
	}
	return s, nil
}

// Limit is the largest length, in bytes, of a request's frame that the server takes; HELLO tells it.
func (s *Server) Limit() uint32 { return s.config.Limit }

// Serve accepts connections on l and serves each until it ends. It returns ErrServerClosed after Shutdown, and closes l
// in any case. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.addListener(&l) {
		return ErrServerClosed
	}
	defer s.removeListener(&l)
	s.idle.Do(func() {
		s.active.Add(1)
		go s.settleIdle()
	})

	var pause time.Duration // not 0: accepting fails, and that has been logged
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(nc)
		case s.draining.Load():
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			// Out of descriptors or memory, or a peer that left: what others give back will do.
			if pause == 0 {
				s.config.Logger.Error("can't accept connections, trying again", "error", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-s.context.Done():
			}
		}
	}
}

func (s *Server) addListener(l *net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	s.active.Add(1)
	return true
}

func (s *Server) removeListener(l *net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	s.active.Done()
}

// admit starts serving nc, or turns it away.
func (s *Server) admit(nc net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		nc.Close()
		return
	}
	if len(s.conns) >= s.config.MaxConnections {
		s.refused++
		s.refuse(nc)
		return
	}
	s.accepted++
	c := newConn(s, nc)
	s.enlist(&c.Client)
	s.conns[c] = struct{}{}
	s.active.Add(1)
	go c.serve()
}

// enlist gives a client its number. It is called with mu held.
func (s *Server) enlist(c *Client) {
	s.clients++
	c.id = s.clients
	c.latency = &s.latencies[c.id%uint64(len(s.latencies))]
}

// maxRefusing is how many connections may be told at a time that there are too many; more are closed without a word.
const maxRefusing = 64

// maxRefusing is the server's: each takes a descriptor, so where there are few connections there are few of these.
func (c Config) maxRefusing() int { return max(8, min(maxRefusing, c.MaxConnections/8)) }

// refuse tells nc that there are too many connections, and closes it. It is called with mu held.
func (s *Server) refuse(nc net.Conn) {
	if s.refusing >= s.config.maxRefusing() {
		nc.Close()
		return
	}
	s.refusing++
	s.active.Add(1)
	go func() {
		defer s.active.Done()
		s.complain(&s.complaints.refused, remoteOf(nc), "refusing a connection: there are too many", "max_connections", s.config.MaxConnections)
		dismiss(nc, s.config.TLS, s.config.Doors, tooMany)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refusing--
	}()
}

// forget takes a connection that has ended out of the books.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.closedIn += c.bytesIn.Load()
	s.closedOut += c.bytesOut.Load()
	s.active.Done()
}

// idleTime is how long nothing may come from a connection before it settles: at least that, at most twice.
const idleTime = 5 * time.Second

// settleIdle settles idle connections until the server drains.
func (s *Server) settleIdle() {
	defer s.active.Done()
	tick := time.NewTicker(idleTime)
	defer tick.Stop()
	for {
		select {
		case <-s.context.Done():
			return
		case <-tick.C:
		}
		s.settle()
	}
}

// settle has connections from which nothing came since the last call give back the stack that they grew before: see
// conn.live.
func (s *Server) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return
	}
	for c := range s.conns {
		in := c.bytesIn.Load()
		if in != c.lastIn {
			c.lastIn, c.settled = in, false
		} else if in > 0 && !c.settled {
			c.settled = true
			c.wake()
		}
	}
}

// wakeAll has every connection that waits look at the server and its accounts.
func (s *Server) wakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.wake()
	}
}

// count notes that a request was answered with this status.
func (s *Server) count(status protocol.Status) { s.answered[status].Add(1) }

// Store returns the store that is served.
func (s *Server) Store() *store.Store { return s.config.Store }

// HasAccounts reports whether clients have to log in.
func (s *Server) HasAccounts() bool { return s.config.Accounts != nil }

// Name is what the server calls itself, name and version.
func (s *Server) Name() string { return s.config.Name }

// Started is when the server was made.
func (s *Server) Started() time.Time { return s.started }

// age is how long ago the server was made. It costs half of what time.Now does.
func (s *Server) age() time.Duration { return time.Since(s.started) }

// Latency says how long requests took, from when they had arrived until their answers could leave: durable, as far as the
// sync policy promises, and, of requests that arrived together, all of them done.
func (s *Server) Latency() Latency { return s.latencies.sum() }

// Draining reports whether Shutdown was called.
func (s *Server) Draining() bool { return s.draining.Load() }

// Shutdown stops accepting, lets every connection answer what has arrived, and closes it; or, where the client has not
// asked with HELLO to be told, goes on answering for some time, a second at most: see drain.go. It returns when all are
// closed; those that are not when ctx ends are cut off, and the error is that of ctx. It then returns within a second,
// whatever an answer may still be waiting for. It may be called again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining.Load() {
		left := time.Duration(math.MaxInt64)
		if end, ok := ctx.Deadline(); ok {
			left = time.Until(end)
		}
		s.drains = s.drainWithin(left)
	}
	s.draining.Store(true)
	s.drain()
	listeners := slices.Collect(maps.Keys(s.listeners))
	for _, session := range s.sessions {
		session.Close()
	}
	s.sessions = nil
	s.mu.Unlock()
	s.wakeAll()
	if s.config.Accounts != nil {
		s.config.Accounts.unwatch(s)
	}
	for _, l := range listeners {
		(*l).Close()
	}

	done := make(chan struct{})
	go func() {
		s.active.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.cut.Store(true)
	s.mu.Lock()
	for c := range s.conns {
		c.transport.abort(false)
	}
	for c := range s.entered {
		c.link.cut()
	}
	s.mu.Unlock()
	select {
	case <-done:
	case <-time.After(lingerTime): // one waits for a disk that does not answer
	}
	return ctx.Err()
}
