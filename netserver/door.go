package netserver

import (
	"cmp"
	"errors"
	"fmt"

	"kv/protocol/foreign"
)

// Door is another protocol than kv frames that is spoken on the connections of a Server.
type Door interface {
	// Name is the protocol's, for logs.
	Name() string
	// Open returns what answers a connection that begins with these bytes, one at least; nil: it does not speak this
	// protocol. It is asked once, when the first bytes have come, and never about what can be a kv frame, whose first
	// byte is below 0x10.
	Open(c *Client, first []byte) Talk
	// Dismiss returns what a connection that begins with these bytes is told before it is closed, since it can't be
	// served; nil: it does not speak this protocol.
	Dismiss(first []byte, why Dismissal) []byte
}

// maxFirstByte is above the first byte of every kv frame: its length is below 2^28.
const maxFirstByte = 0x10

// Talk answers what comes on one connection. It is the connection's goroutine's alone.
type Talk interface {
	// Answer answers every request that is whole in p, which has all that has come and was not used: so it begins where
	// the call before has stopped. p is valid until Answer returns. used is how many bytes are done with: if p has
	// fewer, those that are missing are thrown away when they come, and then Answer is called again, maybe with no
	// bytes. need is how many bytes, counted from the first that is not used, have to be there before another call
	// makes sense, as far as is known: the connection has room for so many, and takes them in without a call. 0: there
	// is no unfinished request, or any byte may help.
	Answer(o *Output, p []byte) (used, need int)
	// Refuse is called instead of Answer when there is no memory for the unfinished request at the start of p, or it
	// needs more than Server.Limit. What it returns is as Answer's, but there is room for a few hundred bytes at most:
	// so it uses what has come and is to come of the request, and then answers it with err.
	Refuse(o *Output, p []byte, err error) (used, need int)
	// Unflushed answers, with err, the last n requests that have begun, whatever they were answered: that was not sent, and can't
	// be, because what it tells may be lost. err is the store's: see Failure.
	Unflushed(o *Output, n int, err error)
	// Close is called when the connection has ended.
	Close()
}

// errGoodbye ends a connection that a client has asked to end.
var errGoodbye = errors.New("the client said goodbye")

// errTold ends a connection whose client has been told why.
var errTold = errors.New("the client can't go on")

// End ends the connection once what is collected is sent. The talk reads no further request. err says why, for the log;
// nil: the client asked for it, or is barred.
func (o *Output) End(err error) {
	switch {
	case o.conn.barred:
		err = errGuessing
	case err == nil:
		err = errGoodbye
	case !errors.As(err, new(*foreignError)):
		err = fmt.Errorf("%w: %w", errTold, err)
	}
	o.ending = err
}

// Ended reports whether End was called, or the connection has ended by itself: then Answer is to return.
func (o *Output) Ended() bool { return o.ending != nil || o.conn.end != nil }

// Foreign is End for a client that does not speak the protocol, but what p begins with. It is complained about.
func (o *Output) Foreign(p []byte, err error) {
	o.End(&foreignError{cmp.Or(foreign.Client(p), "an unknown protocol"), err})
}

// foreignError ends a connection: what came is none of the protocols that are spoken.
type foreignError struct {
	looksLike string
	err       error
}

func (e *foreignError) Error() string { return e.err.Error() }
func (e *foreignError) Unwrap() error { return e.err }

// talkWith returns what answers a connection that begins with p.
func (c *conn) talkWith(p []byte) Talk {
	if p[0] >= maxFirstByte {
		for _, d := range c.server.config.Doors {
			if t := d.Open(&c.Client, p); t != nil {
				c.door.Store(&d)
				return t
			}
		}
	}
	return &c.frames
}
