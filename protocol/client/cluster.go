package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kv/protocol"
)

// maxMoves is how often a request is sent on to the server that leads: while a leader is chosen, servers may send it
// round.
const maxMoves = 3

// ErrNotApplied is the error of a request that was sent on to a server that could not be reached.
var ErrNotApplied = errors.New("not applied")

// others are a Client's connections to other servers of the cluster. None is closed before the Client is: somebody may
// wait for an answer there.
type others struct {
	options Options         // fixed
	ending  context.Context // fixed; done when the Client is closed
	end     context.CancelFunc
	// leading publishes the connection to the server that led last; nil: it is the Client itself. Stored with mu held.
	leading atomic.Pointer[Client]

	mu     sync.Mutex // guards what follows; never held while one is dialled
	conns  map[string]*Client
	dials  map[string]*sharedDial // those under way, one for an address
	closed bool                   // none begins any more

	dialling sync.WaitGroup // the dials under way; the Client's Close waits for them
}

// sharedDial is a dial that all wait for who are sent on to its address, however little time each has.
type sharedDial struct {
	done   chan struct{} // closed when it has ended; publishes what follows
	client *Client
	err    error
}

// dialPause is how long dialFirst waits for one server before it asks the next as well: the "connection attempt delay"
// of RFC 8305.
const dialPause = 250 * time.Millisecond

// dialed is what became of a dial.
type dialed struct {
	at     int // which of the addresses it was
	client *Client
	err    error
}

// dialFirst connects to the first of addrs that answers, and to the server that leads, where they are a cluster's. It
// asks them in their order: the next once one has failed, and besides one that has not answered for dialPause, since a
// machine that is off says nothing at all.
func dialFirst(ctx context.Context, addrs []string, o Options) (*Client, error) {
	dial, cancel := context.WithCancel(ctx)
	defer cancel()
	if _, limited := ctx.Deadline(); !limited {
		var stop context.CancelFunc
		dial, stop = context.WithTimeout(dial, handshakeTime)
		defer stop()
	}
	results := make(chan dialed, len(addrs))
	asked, open := 0, 0
	next := time.NewTimer(0)
	defer next.Stop()
	failures := make([]error, len(addrs))
asking:
	for open > 0 || asked < len(addrs) {
		select {
		case <-next.C:
			if asked == len(addrs) {
				continue
			}
			at := asked
			go func() {
				c, err := dialOne(dial, addrs[at], o)
				results <- dialed{at, c, err}
			}()
			asked, open = asked+1, open+1
			next.Reset(dialPause)
		case r := <-results:
			open--
			if r.err == nil {
				go hangUp(results, open)
				r.client.FindLeader(ctx)
				return r.client, nil
			}
			if failures[r.at] = r.err; ctx.Err() != nil || Lasting(r.err) && errors.As(r.err, new(*protocol.Error)) {
				go hangUp(results, open)
				break asking // a secret that one server refuses is for none of the others to hear; what is no kv at all says nothing of them
			}
			next.Reset(0)
		}
	}
	var err error
	for _, e := range failures {
		switch {
		case err == nil:
			err = e
		case e != nil:
			err = fmt.Errorf("%w; %w", err, e)
		}
	}
	return nil, err
}

// hangUp ends what comes of the dials that are open still.
func hangUp(results <-chan dialed, open int) {
	for range open {
		if r := <-results; r.client != nil {
			r.client.Close()
		}
	}
}

// FindLeader asks who leads the cluster, and has requests go there from now on: for [Client.Start], whose requests are
// not sent on. Where nothing comes of it within five seconds, or the server is alone, all stays as it was, and the
// first request that is moved will tell.
func (c *Client) FindLeader(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	p, err := c.Cluster(ctx)
	if err != nil || p.Leader == p.Node {
		return
	}
	for _, m := range p.Members {
		if m.ID == p.Leader {
			c.follow(ctx, time.Time{}, m.Client)
		}
	}
}

// How a request goes on to a server that leads and can't be reached: it may be gone, and another about to be chosen.
const (
	followTime  = handshakeTime / 2     // that it may take to be reached
	followAgain = 50 * time.Millisecond // until it is asked again who leads
	electing    = 5 * time.Second       // for how long it is asked: longer than it takes to choose another
)

// doThere sends a request to the server that leads, as far as is known, and on to the one that it is sent to. It
// returns the connection that the answer came by. Where that one can't be reached, nothing was applied, and it is asked
// again who leads.
func (c *Client) doThere(ctx context.Context, frame func(dst []byte, id uint32) []byte) ([]byte, *Client, error) {
	deadline, until := c.deadline(), time.Now().Add(electing)
	at := c.current()
	for moves := 0; ; moves++ {
		body, err := at.do(ctx, deadline, frame)
		addr := movedTo(err)
		if addr == "" {
			return body, at, err
		}
		if moves == maxMoves {
			return nil, at, tooManyMoves(addr)
		}
		from := at
		if at, err = c.follow(ctx, deadline, addr); err == nil {
			continue
		}
		err = fmt.Errorf("%w: the server that leads: %w", ErrNotApplied, err)
		again := time.Now().Add(followAgain)
		if Lasting(err) || again.After(until) || !deadline.IsZero() && again.After(deadline) || !from.good() {
			return nil, c, err
		}
		select {
		case <-ctx.Done():
			return nil, c, err
		case <-time.After(followAgain):
		}
		at, moves = from, moves-1
	}
}

// current returns the connection that requests go by: that to the server that led last, while it is good.
func (c *Client) current() *Client {
	if at := c.cluster.leading.Load(); at != nil && at.good() {
		return at
	}
	return c
}

// Leader returns the address of the server that requests go to: the one that led last, as far as is known, or the one
// that was dialled.
func (c *Client) Leader() string { return c.current().addr }

// follow returns a connection to the server at addr, which leads, and remembers it. Where that has to be dialled, it is
// once for all who ask meanwhile: what becomes of it is told to all, and who has no time left, by ctx or deadline
// (zero: none), leaves it to the others.
func (c *Client) follow(ctx context.Context, deadline time.Time, addr string) (*Client, error) {
	o := &c.cluster
	o.mu.Lock()
	at := o.conns[addr]
	switch {
	case addr == c.addr && c.good():
		o.leading.Store(nil)
		o.mu.Unlock()
		return c, nil
	case at != nil && at.good():
		o.leading.Store(at)
		o.mu.Unlock()
		return at, nil
	case o.closed:
		o.mu.Unlock()
		return nil, ErrClosed
	}
	d := o.dials[addr]
	if d == nil {
		d = &sharedDial{done: make(chan struct{})}
		if o.dials == nil {
			o.dials, o.conns = make(map[string]*sharedDial), make(map[string]*Client)
		}
		o.dials[addr] = d
		o.dialling.Go(func() { o.dial(d, addr) })
	}
	o.mu.Unlock()
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	select {
	case <-d.done:
		return d.client, d.err
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to %s: %w", addr, ctx.Err())
	}
}

// dial carries d out, within followTime, and remembers the connection as that to the server that leads.
func (o *others) dial(d *sharedDial, addr string) {
	limit := followTime
	if o.options.Timeout > 0 {
		limit = min(limit, o.options.Timeout)
	}
	ctx, stop := context.WithTimeout(o.ending, limit)
	defer stop()
	d.client, d.err = dialOne(ctx, addr, o.options)
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.dials, addr)
	if d.err == nil {
		o.conns[addr] = d.client
		o.leading.Store(d.client)
	}
	close(d.done)
}

// close closes the connections to other servers.
func (o *others) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.end()
	o.dialling.Wait()
	for _, c := range o.conns { // nobody adds one any more
		c.Close()
	}
}

// good reports whether the connection is not broken, as far as is known.
func (c *Client) good() bool {
	select {
	case <-c.pipe.broken:
		return false
	default:
		return true
	}
}

// movedTo returns the address that err sends a request on to; "": it is no such error.
func movedTo(err error) string {
	var moved *protocol.Error
	if err == nil || !errors.As(err, &moved) || moved.Status != protocol.StatusMoved {
		return ""
	}
	host, port, err := net.SplitHostPort(moved.Message)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" || strings.ContainsFunc(host, notInHost) {
		return ""
	}
	return moved.Message
}

func notInHost(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("/@,;?#\\\"'", r) }

func tooManyMoves(addr string) error {
	return &protocol.Error{
		Status: protocol.StatusUnavailable,
		Message: fmt.Sprintf("sent on %d times, the last to %s: no server leads for long enough; %s",
			maxMoves, addr, protocol.MessageNothingApplied),
	}
}

// Cluster returns how the cluster is, as the server sees it. Of one that is alone all is 0.
func (r *requests) Cluster(ctx context.Context) (protocol.ClusterResponse, error) {
	body, c, err := r.do(ctx, protocol.OpCluster, bare(protocol.OpCluster))
	if err != nil {
		return protocol.ClusterResponse{}, err
	}
	p, err := protocol.ParseClusterResponse(body)
	if err != nil {
		return protocol.ClusterResponse{}, c.malformed(protocol.OpCluster, err)
	}
	return p, nil
}

// Member changes who is in the cluster, or who leads it. When it returns the change is under way; Cluster shows how far.
func (r *requests) Member(ctx context.Context, q protocol.Member) error {
	body, c, err := r.do(ctx, protocol.OpMember, q.AppendTo)
	if err == nil && len(body) > 0 {
		err = c.malformed(protocol.OpMember, notEmpty(body))
	}
	return err
}

// notEmpty is the error of an answer that should have had no body.
func notEmpty(body []byte) error {
	return fmt.Errorf("%w: a body of %d bytes where there is none", protocol.ErrMalformed, len(body))
}
