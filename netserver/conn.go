package netserver

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"kv/protocol"
)

// conn is one connection. Its own goroutine runs serve and is the only one to touch it, but for what is said below.
type conn struct {
	Client

	// Fixed before the goroutine starts. Others may set its read deadline and abort it.
	transport transport
	secured   bool // TLS is spoken

	// The goroutine's alone.
	work   *workspace    // while there is something to read or to answer; else nil
	talk   Talk          // what answers; nil: nothing has come yet
	frames frames        // the usual one
	inbox  *inbox        // what has come and is not used; nil: there is nothing
	end    error         // not nil: the connection has ended, with this
	final  bool          // the server drains, and this connection knows
	quiet  time.Duration // when, as Server.age has it, it is closed unless something comes; see leave
	last   bool          // that has passed: it is closed if nothing is there
	solo   bool          // flushing failed once: answer request by request
	armed  time.Duration // the read deadline that arm has set, as Server.age has it; 0: none

	goodbye bool // the client asks to be told when the server ends: see drain.go

	// Stored by the goroutine alone, loaded by anyone.
	bytesIn, bytesOut atomic.Uint64        // counts; publish nothing
	door              atomic.Pointer[Door] // publishes the door that talk is of; nil: kv frames, or nothing yet

	// The server's, guarded by its mutex: how many bytes had come when it looked last, and whether it had the connection
	// settle since.
	lastIn  uint64
	settled bool
}

// Why a connection ended, where it is not an error of the network.
var (
	errDrained   = errors.New("the server is shutting down")
	errSlowFrame = errors.New("a frame took too long to arrive")
	errSlowRead  = errors.New("the client does not read its answers")
	errNoLogin   = errors.New("nobody logged in")
	errGuessing  = errors.New("too many logins failed")
	errLapsed    = errors.New("the user was removed or changed")
	errNotKept   = errors.New("no memory for what has come of a request")
)

func newConn(s *Server, nc net.Conn) *conn {
	c := new(conn)
	c.enter(s, remoteOf(nc), c)
	c.secured = secureFor(nc, s.config.TLS) != nil
	c.transport = newTransport(nc, s.config.TLS, &c.Client)
	c.frames.conn = c
	return c
}

// cut breaks the connection off.
func (c *conn) cut() { c.transport.abort(true) }

// serve runs the connection's whole life.
func (c *conn) serve() {
	if err := c.handshake(); err != nil {
		if !c.server.draining.Load() {
			c.server.handshakeFailures.Add(1)
			c.server.complain(&c.server.complaints.handshake, c.remote, "TLS handshake failed", "error", err)
		}
		c.transport.close(false, false)
		c.server.forget(c)
		return
	}
	c.session = c.server.config.Store.Session()
	c.arm()
	c.live()
}

func (c *conn) handshake() error {
	if !c.secured {
		return nil
	}
	c.transport.SetReadDeadline(time.Now().Add(c.server.config.FrameTimeout))
	if c.server.draining.Load() { // looked at after the deadline is set: see Server.draining
		return errDrained
	}
	if err := c.transport.handshake(); err != nil {
		return err
	}
	return c.transport.SetReadDeadline(time.Time{})
}

// live runs the connection until it has ended. When it has nothing to do for a while it goes on in a new goroutine: a stack
// that has grown while requests were answered never gets as small again as a new one is.
func (c *conn) live() {
	c.run()
	if c.end == nil {
		go c.live()
		return
	}
	if c.inbox != nil { // it ended while it waited for the rest of a request
		c.inbox.drop()
	}
	if c.talk != nil {
		c.talk.Close()
	}
	c.giveBack()
	c.session.Close()
	c.sayGoodbye()
	notify, lingers := c.ended()
	c.transport.close(notify, lingers)
	c.server.forget(c)
}

// run reads and answers until the connection has ended, or is to settle. It keeps the stack shallow for the wait, which is
// most of the connection's life.
func (c *conn) run() {
	for c.end == nil {
		// Looked at after deadlines are set: see Server.draining.
		if c.server.draining.Load() && !c.final {
			c.waited(os.ErrDeadlineExceeded)
		}
		if err := c.transport.wait(c); err != nil && c.waited(err) {
			return
		}
	}
}

// readable reads what has come, answers it, and returns false to wait for more; true: the connection has ended. It goes
// on until nothing is left that it was called for, because the next call is for what comes after that.
func (c *conn) readable() bool {
	w := c.takeWorkspace()
	if w == nil {
		return true
	}
	defer c.giveWorkspace(w)
	c.openInbox(w)
	for c.end == nil {
		p := c.space(w)
		n, err := c.transport.read(p, &w.receipt)
		switch {
		case n > 0:
			c.last = false
			if c.arrived(w, n); c.server.cut.Load() || c.server.left() {
				c.stop(errDrained)
			}
		case errors.Is(err, errNothing):
			switch {
			case c.last && !c.transport.halfway():
				c.stop(errDrained)
			case c.rest(w):
				return false
			case c.final:
				c.stop(errDrained) // all that had arrived is answered
			default:
				c.final = true
				c.transport.look()
			}
		default:
			c.stop(err)
		}
	}
	c.closeInbox(w)
	return true
}

// rest prepares for the wait. It returns false if there is to be none, because the server drains and the client is to
// be told, or the connection has ended: it looks after the deadline is set, see Server.draining.
func (c *conn) rest(w *workspace) bool {
	c.closeInbox(w)
	if c.Lapsed() {
		c.stop(errLapsed)
	}
	if c.end == nil && !c.server.draining.Load() {
		return true
	}
	if c.end == nil && !c.asks() {
		c.leave()
		return true
	}
	c.openInbox(w)
	return false
}

// openInbox has what comes next go to the workspace.
func (c *conn) openInbox(w *workspace) {
	if c.inbox == nil {
		w.inbox = inbox{memory: c.server.requests}
		c.inbox = &w.inbox
	}
	c.inbox.open(w.in[:])
}

// closeInbox keeps what there is of an unfinished request, before the workspace goes back, and sees to the deadline.
func (c *conn) closeInbox(w *workspace) {
	in := c.inbox
	waits := func() bool { return c.end == nil && (in.unfinished() || c.transport.halfway()) }
	if waits() && !in.close() {
		if c.turnDown(w, errNoRoom); waits() && !in.close() {
			c.stop(errNotKept)
		}
	}
	if !waits() {
		in.drop()
		c.inbox = nil
		if c.end == nil {
			c.arm() // nobody may have logged in
		}
		return
	}
	if in == &w.inbox {
		in = new(inbox)
		*in = w.inbox
		c.inbox = in
	}
	c.await()
}

// space is where the next bytes are to be read to.
func (c *conn) space(w *workspace) []byte {
	for {
		if p := c.inbox.space(); p != nil {
			return p
		}
		if c.turnDown(w, errNoRoom); c.end != nil {
			return w.in[:] // it is not looked at
		}
	}
}

// arrived takes n bytes that were read to where space said, and answers every request that is whole now.
func (c *conn) arrived(w *workspace, n int) {
	c.bytesIn.Store(c.bytesIn.Load() + uint64(n))
	switch {
	case c.Lapsed():
		c.stop(errLapsed)
		return
	case c.late(): // who never stops asking is never waited for
		c.stop(errNoLogin)
		return
	}
	in := c.inbox
	in.arrived(n)
	if !in.ready() {
		return
	}
	p := in.bytes()
	if c.talk == nil {
		c.talk = c.talkWith(p)
	}
	w.out.begun = false
	used, need := c.talk.Answer(&w.out, p)
	c.answered(w, used, need)
}

// turnDown has the request that has come in part refused.
func (c *conn) turnDown(w *workspace, err error) {
	w.out.begun = false
	used, need := c.talk.Refuse(&w.out, c.inbox.bytes(), err)
	if used == 0 {
		c.stop(errNotKept)
	}
	c.answered(w, used, need)
}

// answered sends what a talk has collected, and does with what had come as the talk said.
func (c *conn) answered(w *workspace, used, need int) {
	o := &w.out
	if o.size() > 0 || o.requests > 0 {
		o.Flush()
	}
	if o.ending != nil {
		c.stop(o.ending)
	}
	c.inbox.use(used, o.begun)
	if c.end != nil {
		return
	}
	if limit := int(c.server.config.Limit) + 4; need > limit {
		c.turnDown(w, refusalf(protocol.StatusTooLarge, "a request of at least %d bytes: this server takes %d at most", need, limit))
	} else if !c.inbox.require(need) {
		c.turnDown(w, errNoRoom)
	}
}

// stop ends the connection; the first reason counts.
func (c *conn) stop(err error) {
	if c.end == nil {
		c.end = err
	}
}

// wake makes a connection that waits look up. Any goroutine may call it.
func (c *conn) wake() { c.transport.SetReadDeadline(time.Unix(1, 0)) }

// waited decides what the error that ended a wait means. It returns true if the connection is to settle.
func (c *conn) waited(err error) (settle bool) {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		c.stop(err)
		return false
	}
	c.armed = 0
	if c.server.draining.Load() {
		switch {
		case !c.final: // one more look at what has arrived
			c.leave()
		case c.last:
			c.stop(errDrained)
		case c.server.age() >= c.quiet:
			c.lookOnce()
		default: // woken a second time
			c.transport.SetReadDeadline(c.server.started.Add(c.quiet))
		}
		return false
	}
	due := c.due()
	switch {
	case due == 0:
		c.transport.SetReadDeadline(time.Time{})
		return true
	case c.server.age() < due:
		c.arm()
	case c.late():
		c.stop(errNoLogin)
	default:
		c.stop(errSlowFrame)
	}
	return false
}

// due is when, as Server.age has it, the connection ends if it is still waiting for the same then; 0: it may wait for ever.
func (c *conn) due() time.Duration {
	due := c.loginBy
	if c.inbox != nil && c.inbox.began != 0 {
		whole := c.inbox.began + c.server.config.FrameTimeout + c.inbox.extra()
		if due == 0 || whole < due {
			due = whole
		}
	}
	return due
}

// await notes that the rest of a request is waited for, and until when.
func (c *conn) await() {
	if c.inbox.began == 0 {
		c.inbox.began = c.server.age()
	}
	c.arm()
}

// arm makes sure that the wait ends when it is due, if not before. A deadline that is set already, for what has come since,
// does as well: when it has passed, waited looks what is due, and sets the next. So there is one for each FrameTimeout, not
// for each request.
func (c *conn) arm() {
	due := c.due()
	if due == 0 || c.final || c.armed != 0 && due >= c.armed {
		return
	}
	c.armed = due
	c.transport.SetReadDeadline(c.server.started.Add(due))
}

// ended logs why the connection has ended, and says how it is to be closed.
func (c *conn) ended() (notify, lingers bool) {
	s := c.server
	var bad *foreignError
	switch {
	case c.cutOff.Load():
		s.config.Logger.Debug("connection closed for want of memory", "error", c.end, "remote", c.Remote())
		return false, false
	case errors.As(c.end, &bad):
		s.complain(&s.complaints.foreign, c.remote, "closing a connection that does not speak the kv protocol",
			"looks_like", bad.looksLike, "error", c.end)
	case errors.Is(c.end, errSlowFrame):
		s.complain(&s.complaints.slow, c.remote, "closing a slow connection", "error", c.end)
	case errors.Is(c.end, errSlowRead):
		s.complain(&s.complaints.slow, c.remote, "closing a slow connection", "error", c.end)
		return false, false // TLS's close_notify would wait like the rest
	case errors.Is(c.end, errNoLogin):
		s.complain(&s.complaints.noLogin, c.remote, "closing a connection that did not log in", "error", c.end)
	case errors.Is(c.end, errGuessing):
		s.complain(&s.complaints.guessing, c.remote, "closing a connection that logged in wrongly", "failed", c.wrong, "error", c.end)
	case errors.Is(c.end, errLapsed):
		s.config.Logger.Info("closing a user's connection", "user", c.login.user, "error", c.end, "remote", c.Remote())
	case errors.Is(c.end, errDrained):
	case errors.Is(c.end, errGoodbye), errors.Is(c.end, errTold):
		s.config.Logger.Debug("connection closed", "error", c.end, "remote", c.Remote())
	default:
		s.config.Logger.Debug("connection closed", "error", c.end, "remote", c.Remote())
		return true, false
	}
	return true, true
}
