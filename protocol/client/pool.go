package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
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
	Connections int // how many are kept to each server; 0: one, which many goroutines may share
	// SpreadReads sends reads to all servers of the cluster in turn, and not to the leader alone. They are linearizable
	// there too, unless MaxStale says otherwise: a read that is STALE at one server is then sent to the leader.
	SpreadReads bool
}

// Pool is access to a server that survives the loss of connections: it keeps some, dials again when one breaks, waiting
// longer from time to time and never as long as others do, and looks after those over which nothing comes. Its methods
// are those of Client, and may be called by many goroutines at a time.
//
// In a cluster it knows the servers that it was given, and those that others send it to. Writes go to the one that led
// last, and on to the one that leads where they are sent on, three times at most; so do reads, unless they are spread.
//
// A request waits for a connection for as long as it has time. One that only reads is repeated by itself where its
// connection broke. A write whose answer is lost is not sent again: the error is [ErrUnknown]. What surely was not sent
// yet, or not applied by a server that has ended in order, goes by another connection.
//
// Where the server refuses a connection in a way that will not pass, such as wrong credentials, requests fail with that
// at once, while the Pool goes on trying.
type Pool struct {
	requests
	options PoolOptions // fixed

	ctx     context.Context // done when the Pool is closed
	close   context.CancelFunc
	keepers sync.WaitGroup // of the links; Close waits for them

	links  atomic.Pointer[[]*link] // publishes those that there are: links are only added, with mu held
	leader atomic.Pointer[string]  // publishes the address of the server that led last; nil: none is known
	turn   atomic.Uint64           // whose turn it is among links; publishes nothing

	mu      sync.Mutex    // guards changed, and all links' failure
	changed chan struct{} // closed, and made anew, when a link has a connection or failed to get one
}

const (
	poolTimeout = 30 * time.Second // of a request, where none is set
	// poolTries is how often a request is sent at most: the request itself may be what ends each connection.
	poolTries = 4
	// movePause is waited before a request is sent on for the second time, as where leadership is just handed over, and
	// lastMovePause before the third.
	movePause     = 10 * time.Millisecond
	lastMovePause = 600 * time.Millisecond
	// moveTime is how long a connection to the leader is waited for, before another server is asked who leads.
	moveTime = time.Second
	// goneTime is how long those are asked again who send a request on to a server that refuses connections: they are
	// about to notice.
	goneTime = 3 * time.Second
)

// NewPool returns a Pool for the server at addr, or for a cluster whose servers are at several, separated by commas. It
// connects in the background, so it never fails; to know that the server is there, Ping it. Close it when it is no
// longer used.
func NewPool(addr string, o PoolOptions) *Pool {
	o.Timeout = cmp.Or(o.Timeout, poolTimeout)
	p := &Pool{options: o, changed: make(chan struct{})}
	p.requests.pool = p
	p.ctx, p.close = context.WithCancel(context.Background())
	p.links.Store(new([]*link))
	for a := range strings.SplitSeq(addr, ",") {
		p.add(a)
	}
	return p
}

// add keeps connections to the server at addr from now on, if there are none yet.
func (p *Pool) add(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	links := slices.Clone(*p.links.Load())
	if p.ctx.Err() != nil || slices.ContainsFunc(links, func(l *link) bool { return l.addr == addr }) {
		return
	}
	for range max(1, p.options.Connections) {
		l := &link{addr: addr, wanted: make(chan struct{}, 1)}
		links = append(links, l)
		p.keepers.Go(func() { p.keep(l) })
	}
	p.links.Store(&links)
}

// Close closes all connections. Calls that wait fail, with ErrUnknown where they are writes that were sent, else with ErrClosed.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.close() // no keeper is added any more
	p.mu.Unlock()
	p.keepers.Wait()
	return nil
}

// Conn returns one of the connections: for Start, or for what has to stay on one. It waits for one until ctx or the Timeout ends.
func (p *Pool) Conn(ctx context.Context) (*Client, error) {
	return p.conn(ctx, time.Now().Add(p.options.Timeout), true)
}

// Backup is Client.Backup, over one connection.
func (p *Pool) Backup(ctx context.Context, w io.Writer) (bytes int64, err error) {
	c, err := p.Conn(ctx)
	if err != nil {
		return 0, err
	}
	return c.Backup(ctx, w)
}

// do sends a request over some connection, and once more over another where that breaks and the request changes
// nothing, or was not sent or applied.
func (p *Pool) do(ctx context.Context, op protocol.Opcode, frame func(dst []byte, id uint32) []byte) ([]byte, *Client, error) {
	deadline := time.Now().Add(p.options.Timeout)
	toLeader := op.Writes() || !p.options.SpreadReads
	moves, pause := 0, firstPause
	began := time.Now()
	for try := 1; ; {
		c, err := p.conn(ctx, deadline, toLeader)
		if err != nil {
			return nil, nil, err
		}
		body, err := c.do(ctx, deadline, frame)
		if addr := movedTo(err); addr != "" {
			if moves++; moves > maxMoves {
				return nil, c, tooManyMoves(addr)
			}
			switch { // servers that send it round are about to learn who leads
			case moves == 2:
				p.sleep(ctx, min(movePause, time.Until(deadline)))
			case moves > 2:
				p.sleep(ctx, min(lastMovePause, time.Until(deadline)))
			}
			if gone := p.moveTo(ctx, deadline, addr); gone && time.Since(began) < goneTime {
				moves--
				p.sleep(ctx, min(firstPause, time.Until(deadline)))
			}
			continue
		}
		try++
		switch {
		case try > poolTries:
			return body, c, err
		case errors.Is(err, ErrClosed) && !errors.Is(err, ErrUnknown) && !errors.Is(err, protocol.ErrMalformed):
		case errors.Is(err, protocol.ErrUnavailable) && !op.Writes() && op != protocol.OpSnapshot: // nobody leads, for one
			p.sleep(ctx, min(pause, time.Until(deadline)))
			pause *= 2
		case errors.Is(err, protocol.ErrStale):
			toLeader = true
		default:
			return body, c, err
		}
	}
}

// moveTo remembers who leads, and gives its connection some time to come. gone: there is none, the server refuses it.
func (p *Pool) moveTo(ctx context.Context, deadline time.Time, addr string) (gone bool) {
	p.leader.Store(&addr)
	p.add(addr)
	before := p.failures(addr)
	for _, l := range *p.links.Load() {
		if l.addr == addr {
			l.want()
		}
	}
	timer := time.NewTimer(min(moveTime, time.Until(deadline)))
	defer timer.Stop()
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if p.liveAt(addr) != nil {
			return false
		}
		if p.failures(addr) > before {
			return true
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
			return false
		case <-ctx.Done():
			return false
		case <-timer.C:
			return false
		}
	}
}

// failures returns how many dials of the server at addr have failed.
func (p *Pool) failures(addr string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range *p.links.Load() {
		if l.addr == addr {
			n += l.failures
		}
	}
	return n
}

// conn returns a connection that is not known to be broken, with toLeader to the server that leads, if it is known. It
// waits for a connection until ctx is done or deadline has passed.
func (p *Pool) conn(ctx context.Context, deadline time.Time, toLeader bool) (*Client, error) {
	if c := p.live(toLeader); c != nil {
		return c, nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		p.mu.Lock()
		changed, failure, hopeless := p.changed, p.failure(), p.hopeless()
		p.mu.Unlock()
		if c := p.live(toLeader); c != nil {
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

// live returns a connection of those that are good: to the server that leads, as far as that is known, or else of all
// in turn. nil: there is none.
func (p *Pool) live(toLeader bool) *Client {
	if !toLeader {
		return p.liveAt("")
	}
	if leader := p.leader.Load(); leader != nil {
		if c := p.liveAt(*leader); c != nil {
			return c
		}
	}
	for _, l := range *p.links.Load() { // the first server with a connection, so that all requests go to the same one
		if c := l.client.Load(); c != nil && c.good() {
			return p.liveAt(l.addr)
		}
	}
	return nil
}

// liveAt returns a connection that is good to the server at addr, in turn; of all servers where addr is "".
func (p *Pool) liveAt(addr string) *Client {
	var room [16]*Client
	there := room[:0]
	for _, l := range *p.links.Load() {
		if c := l.client.Load(); (addr == "" || l.addr == addr) && c != nil && c.good() {
			there = append(there, c)
		}
	}
	if len(there) == 0 {
		return nil
	}
	return there[p.turn.Add(1)%uint64(len(there))]
}

// failure returns why there is no connection; nil: that is not known yet. mu is held.
func (p *Pool) failure() error {
	for _, l := range *p.links.Load() {
		if l.failure != nil {
			return l.failure
		}
	}
	return nil
}

// hopeless reports whether every attempt to connect has failed in a way that will not pass by itself. mu is held.
func (p *Pool) hopeless() bool {
	return !slices.ContainsFunc(*p.links.Load(), func(l *link) bool { return !Lasting(l.failure) })
}

// notify makes a change of links known to those that wait.
func (p *Pool) notify(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// sleep waits, unless ctx ends or the Pool is closed meanwhile.
func (p *Pool) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-p.ctx.Done():
	}
}
