// Package client is the Go client of a kv server: one persistent connection, shared by as many goroutines as like, with
// their requests pipelined in the order in which they came.
//
// # Errors
//
// A status other than OK is a *[protocol.Error]; compare with [errors.Is] and protocol.ErrNotFound,
// protocol.ErrConflict and so on. A connection that broke or was closed is [ErrClosed]. A write that was or may have
// been sent, and whose answer did not come, is [ErrUnknown]: it may have been applied or not. A server that ends in
// order answers what it has applied, and then says goodbye: what has no answer by then is ErrClosed alone. No write is
// ever applied twice.
//
// A [Client] does not connect again: once it is broken, every call fails with ErrClosed, and the caller dials anew. A
// [Pool] does: it dials again by itself, and repeats what only reads. Both take the addresses of a whole cluster, and
// go to the server that leads.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"kv/protocol"
)

var (
	// ErrClosed is the error of a connection that was closed or broke; it wraps the reason. A write that failed with it,
	// and not with ErrUnknown, was never sent, or the server said when it ended that it has not applied it.
	ErrClosed = errors.New("connection closed")
	// ErrUnknown is the error of a write that was or may have been sent, and whose answer was lost, came too late or was
	// no longer waited for; it wraps the reason. Read what is stored now before trying again.
	ErrUnknown = errors.New("outcome of the write unknown")
)

// Options say how to connect. The zero value is no TLS, no credentials and no time limit.
type Options struct {
	TLS          *tls.Config // nil: no TLS. A missing ServerName is taken from the address
	User, Secret string      // the credentials that HELLO carries, at most 65535 bytes each; empty: none
	// Timeout bounds dialling, HELLO included, and each request from its start to its answer, besides their contexts;
	// 0: no bound. A request that runs into it fails with context.DeadlineExceeded. The connection stays usable if
	// anything came meanwhile; if nothing at all did since the request was sent it is broken, since the server, or the
	// way to it, may be dead. A request that runs into its context's deadline breaks the connection only after a second
	// of silence. TLS and HELLO have no more than five seconds, since what does not speak kv may wait for ever.
	Timeout time.Duration
	// MaxStale is how old what reads find may be, in a cluster, in whole milliseconds: a server answers by itself as
	// long as it knows that it is no further behind, and else refuses with protocol.ErrStale. 0: reads are
	// linearizable.
	MaxStale time.Duration

	dialer    func(ctx context.Context, addr string) (net.Conn, error) // nil: package net's
	handshake time.Duration                                            // how long TLS and HELLO may take; 0: handshakeTime
}

// Client is one connection to a server. Its methods may be called by many goroutines at a time.
//
// In a cluster a request that another server has to do, which leads, goes to that: the Client connects to it too, and
// goes there with all that follows until the leader changes.
//
// Byte slices that a method is given are not kept after it returns, and those that it returns are the caller's own.
type Client struct {
	requests

	conn    net.Conn // read by readAnswers, written by writeFrames
	addr    string
	timeout time.Duration
	born    time.Time
	hello   protocol.HelloResponse // set by Dial, before anyone else sees the Client
	first   []byte                 // how the first answer began, a header at most; readAnswers sets it before pipe.finished

	pipe  pipeline
	calls sync.Pool // recycles the Calls that do uses, which nobody else can hold

	cluster others // the other servers of the cluster, as far as they were needed
}

// Network returns what package net calls the network of an address, and the address there: a Unix socket where it is
// unix: and a path, else TCP, and it is HOST:PORT.
func Network(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", path
	}
	return "tcp", addr
}

// errUnixTLS is the error of Dial where TLS is asked for over a Unix socket.
var errUnixTLS = errors.New("a server speaks no TLS over a Unix socket, since nobody is on the way: leave it out")

// Dial connects to a server, at HOST:PORT or unix:PATH, and greets it. Of several addresses, separated by commas, it
// takes the first that answers; where they are a cluster's, requests go to the server that leads: see [Client]. The
// error is a *[protocol.Error] where it was the server that refused. Where the server does not answer as one of kv
// does, the error says what it speaks instead, as far as that can be told; for that Dial may connect to it once or
// twice more. [ErrTLS] and [ErrNoTLS] tell that only TLS is wrong.
func Dial(ctx context.Context, addr string, o Options) (*Client, error) {
	if len(o.User) > math.MaxUint16 || len(o.Secret) > math.MaxUint16 {
		return nil, fmt.Errorf("a user or secret of more than %d bytes can't be sent", math.MaxUint16)
	}
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	addrs := strings.Split(addr, ",")
	if len(addrs) == 1 {
		return dialOne(ctx, addr, o)
	}
	return dialFirst(ctx, addrs, o)
}

// dialOne is Dial of one address.
func dialOne(ctx context.Context, addr string, o Options) (*Client, error) {
	if network, _ := Network(addr); network == "unix" && o.TLS != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, errUnixTLS)
	}
	conn, err := o.dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, cause(err))
	}
	c, err := handshake(ctx, conn, addr, o)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return c, nil
}

func (o Options) dial(ctx context.Context, addr string) (net.Conn, error) {
	if o.dialer != nil {
		return o.dialer(ctx, addr)
	}
	network, address := Network(addr)
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// handshake greets the server at the other end of conn. After an error conn is closed.
func handshake(ctx context.Context, conn net.Conn, addr string, o Options) (*Client, error) {
	short, limit, cancel := withHandshakeTime(ctx, o)
	defer cancel()
	if o.TLS != nil {
		secure := tls.Client(conn, configFor(o.TLS, addr))
		if err := secure.HandshakeContext(short); err != nil {
			conn.Close()
			return nil, explain(ctx, addr, o, limit, nil, err)
		}
		conn = secure
	}
	c := newClient(conn, addr, o.Timeout)
	c.cluster.options = o
	if err := c.greet(short, o); err != nil {
		c.Close()
		return nil, explain(ctx, addr, o, limit, c.first, err)
	}
	return c, nil
}

// configFor returns config with the server's name taken from the address where it has none.
func configFor(config *tls.Config, addr string) *tls.Config {
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	return config
}

// cause is what a failed dial came from, without the address, which is named already.
func cause(err error) error {
	var call *os.SyscallError
	if op, ok := err.(*net.OpError); ok {
		err = op.Err
	}
	if errors.As(err, &call) {
		err = call.Err
	}
	return err
}

// newClient starts the two goroutines that serve conn.
func newClient(conn net.Conn, addr string, timeout time.Duration) *Client {
	c := &Client{conn: conn, addr: addr, timeout: timeout, born: time.Now()}
	c.requests.client = c
	c.cluster.ending, c.cluster.end = context.WithCancel(context.Background())
	c.pipe.init()
	c.calls.New = func() any { return &Call{done: make(chan struct{}, 1), recycled: true} }
	go c.writeFrames()
	go c.readAnswers()
	return c
}

// greet sends HELLO and keeps its answer.
func (c *Client) greet(ctx context.Context, o Options) error {
	q := protocol.Hello{Version: protocol.Version, User: []byte(o.User), Secret: []byte(o.Secret), Goodbye: true}
	body, err := c.do(ctx, c.deadline(), q.AppendTo)
	if errors.Is(err, protocol.ErrBadRequest) { // an older server, which does not know that flag
		q.Goodbye = false
		answer, again := c.do(ctx, c.deadline(), q.AppendTo)
		if !errors.Is(again, ErrClosed) { // else the first answer says more
			body, err = answer, again
		}
	}
	if err != nil {
		return err
	}
	c.pipe.goodbye.Store(q.Goodbye)
	p, err := protocol.ParseHelloResponse(body)
	if err != nil {
		return err
	}
	if p.Version != protocol.Version {
		return fmt.Errorf("the server speaks protocol version %d, this client %d", p.Version, protocol.Version)
	}
	c.hello = p
	if o.MaxStale <= 0 {
		return nil
	}
	bound := uint32(min(max(o.MaxStale.Milliseconds(), 1), math.MaxUint32))
	if body, err = c.do(ctx, c.deadline(), protocol.Reads{Bound: bound}.AppendTo); err == nil && len(body) > 0 {
		return notEmpty(body)
	}
	if errors.Is(err, protocol.ErrUnknownOpcode) { // an older server, which is alone
		return nil
	}
	return err
}

// Close closes the connection and waits until it is closed. Calls that wait for an answer fail, with ErrUnknown where
// they are writes, else with ErrClosed.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	<-c.pipe.finished
	c.cluster.close()
	return nil
}

// Hello returns what the server said of itself when the connection was made.
func (c *Client) Hello() protocol.HelloResponse { return c.hello }

// Addr returns the address that was dialled.
func (c *Client) Addr() string { return c.addr }

// Done returns a channel that is closed once the connection that was dialled is broken or closed: every further call
// will fail, unless another server of the cluster leads.
func (c *Client) Done() <-chan struct{} { return c.pipe.broken }
