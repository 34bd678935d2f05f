package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kv/protocol"
)

// PoolOptions say how a Pool connects. The zero value is one connection without TLS or credentials.
type PoolOptions struct {
	// Options are those of each connection. A Timeout of 0 is 30 seconds here: what is waited for includes that there is a
	// connection at all, which may never be.
	Options
	Connections int // how many are kept; 0: one, which many goroutines may share
}

// Pool is access to a server that survives the loss of connections: it keeps some, dials again when one breaks, waiting longer from
// time to time and never as long as others do, and looks after those over which nothing comes. Its methods are those of Client, and may
// be called by many goroutines at a time.
//
// A request waits for a connection for as long as it has time. One that only reads is repeated by itself where its connection broke.
// A write is sent once: when its answer is lost the error is [ErrUnknown]. What surely was not sent yet goes by another connection.
//
// Where the server refuses a connection in a way that will not pass, such as wrong credentials, requests fail with that at once, while
// the Pool goes on trying.
type Pool struct {
	requests
	options PoolOptions // fixed

	ctx     context.Context // done when the Pool is closed
	close   context.CancelFunc
	keepers sync.WaitGroup

	links []*link       // fixed
	turn  atomic.Uint64 // whose turn it is among links; publishes nothing

	mu      sync.Mutex    // guards changed, and all links' failure
	changed chan struct{} // closed, and made anew, when a link has a connection or failed to get one
}

// link is one connection that is kept: its keeper dials it.
type link struct {
	addr   string                 // fixed
	client atomic.Pointer[Client] // publishes the connection; nil: there is none. The keeper stores
	// failure is why the last dial failed; nil: it did not, or none has ended. Guarded by Pool.mu.
	failure error
}

const (
	poolTimeout = 30 * time.Second // of a request, where none is set
	// A keeper waits between firstPause/2 and firstPause before it dials for the second time, then twice as long each time, up to
	// lastPause. One that had a connection for longer than that begins anew.
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
	// checkEvery is how long nothing may come from a server until it is asked whether it lives, and how long it then has.
	checkEvery = 5 * time.Second
	// poolTries is how often a request is sent at most: one that ends each connection may be what does it.
	poolTries = 4
)

// NewPool returns a Pool for the server at addr. It connects in the background, so it never fails; to know that the server is there,
// Ping it. Close it when it is no longer used.
func NewPool(addr string, o PoolOptions) *Pool {
	o.Timeout = cmp.Or(o.Timeout, poolTimeout)
	p := &Pool{options: o, changed: make(chan struct{})}
	p.requests.pool = p
	p.ctx, p.close = context.WithCancel(context.Background())
	for range max(1, o.Connections) {
		l := &link{addr: addr}
		p.links = append(p.links, l)
		p.keepers.Go(func() { p.keep(l) })
	}
	return p
}

// Close closes all connections. Calls that wait fail, with ErrUnknown where they are writes that were sent, else with ErrClosed.
func (p *Pool) Close() error {
	p.close()
	p.keepers.Wait()
	return nil
}

// Conn returns one of the connections: for Start, or for what has to stay on one. It waits for one until ctx or the Timeout ends.
func (p *Pool) Conn(ctx context.Context) (*Client, error) {
	return p.conn(ctx, time.Now().Add(p.options.Timeout))
}

// Backup is Client.Backup, over one connection.
func (p *Pool) Backup(ctx context.Context, w io.Writer) (bytes int64, err error) {
	c, err := p.Conn(ctx)
	if err != nil {
		return 0, err
	}
	return c.Backup(ctx, w)
}

// do sends a request over some connection, and once more over another where that breaks and the request changes nothing, or was not
// sent.
func (p *Pool) do(ctx context.Context, op protocol.Opcode, frame func(dst []byte, id uint32) []byte) ([]byte, *Client, error) {
	deadline := time.Now().Add(p.options.Timeout)
	for try := 1; ; try++ {
		c, err := p.conn(ctx, deadline)
		if err != nil {
			return nil, nil, err
		}
		body, err := c.do(ctx, deadline, frame)
		if !errors.Is(err, ErrClosed) || errors.Is(err, ErrUnknown) || errors.Is(err, protocol.ErrMalformed) || try == poolTries {
			return body, c, err
		}
	}
}

// conn returns a connection that is good as far as is known. It waits for one until ctx is done or deadline has passed.
func (p *Pool) conn(ctx context.Context, deadline time.Time) (*Client, error) {
	if c := p.live(); c != nil {
		return c, nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		p.mu.Lock()
		changed, failure, hopeless := p.changed, p.failure(), p.hopeless()
		p.mu.Unlock()
		if c := p.live(); c != nil {
			return c, nil
		}
		if hopeless {
			return nil, failure
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, notConnected(ctx.Err(), failure)
		case <-timer.C:
			return nil, notConnected(lateError(p.options.Timeout), failure)
		}
	}
}

// notConnected is the error of a request that waited for a connection in vain.
func notConnected(err, failure error) error {
	if failure == nil {
		return fmt.Errorf("not sent: %w", err)
	}
	return fmt.Errorf("not sent: %w; %w", err, failure)
}

// live returns a connection of those that are good, in turn; nil: there is none.
func (p *Pool) live() *Client {
	turn := p.turn.Add(1)
	for i := range p.links {
		c := p.links[(turn+uint64(i))%uint64(len(p.links))].client.Load()
		if c == nil {
			continue
		}
		select {
		case <-c.Done():
		default:
			return c
		}
	}
	return nil
}

// failure returns why there is no connection; nil: that is not known yet. mu is held.
func (p *Pool) failure() error {
	for _, l := range p.links {
		if l.failure != nil {
			return l.failure
		}
	}
	return nil
}

// hopeless reports whether every attempt to connect has failed in a way that will not pass by itself. mu is held.
func (p *Pool) hopeless() bool {
	return !slices.ContainsFunc(p.links, func(l *link) bool { return !lasting(l.failure) })
}

// lasting reports whether a dial that failed so would fail again until somebody changes something.
func lasting(err error) bool {
	var refused *protocol.Error
	var foreign *dialError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errUnixTLS):
		return true
	case errors.As(err, &refused):
		return refused.Status != protocol.StatusUnavailable
	case errors.As(err, &certificate):
		return true
	case errors.As(err, &foreign):
		return foreign.spoke
	}
	return false
}

// keep keeps l connected until the Pool is closed.
func (p *Pool) keep(l *link) {
	pause := firstPause
	for p.ctx.Err() == nil {
		began := time.Now()
		c, err := Dial(p.ctx, l.addr, p.options.Options)
		p.notify(func() {
			l.failure = err
			l.client.Store(c)
		})
		if err == nil {
			p.watch(c)
			l.client.Store(nil)
			c.Close()
			if time.Since(began) > lastPause {
				pause = firstPause
			}
		}
		p.sleep(pause/2 + rand.N(pause/2))
		pause = min(2*pause, lastPause)
	}
}

// notify makes a change of links known to those that wait.
func (p *Pool) notify(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// watch returns when the connection is broken, or the Pool closed. When nothing has come for a while it asks the server whether it
// lives.
func (p *Pool) watch(c *Client) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.Done():
			return
		case <-p.ctx.Done():
			return
		case <-tick.C:
		}
		if time.Since(c.lastHeard()) < checkEvery {
			continue
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(p.ctx, checkEvery)
		err := c.Ping(ctx, nil)
		cancel()
		if err != nil && !c.lastHeard().After(began) {
			return
		}
	}
}

// sleep waits, unless the Pool is closed meanwhile.
func (p *Pool) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ctx.Done():
	}
}
