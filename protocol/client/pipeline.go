package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"kv/protocol"
)

// How a request travels. Start appends its frame to pipeline.frames and its Call to pipeline.waiting, both under one lock,
// so the two have the same order. The writer goroutine takes all frames that have gathered and writes them at once. The
// reader goroutine takes all Calls that have gathered, and gives each the next answer that arrives.
//
// What may gather is bounded: Start waits while either holds too much.
const (
	maxFrames  = 1 << 20 // bytes of frames that may wait for the writer before Start blocks; one large frame may pass it
	maxWaiting = 1 << 16 // calls that may wait for the reader before Start blocks
	keepFrames = 4 << 20 // a frame buffer that grew beyond this is not used again

	readBuffer = 64 << 10
	firstRead  = 64 << 10 // how much is allocated for a body before any of it came
	lastWords  = time.Second

	maxFirstByte = 0x10 // no frame begins with this or more: its length is below 2^28
)

type pipeline struct {
	mu      sync.Mutex    // guards what follows, up to room
	frames  []byte        // what the writer takes next
	waiting []*Call       // what the reader takes next
	started uint64        // the seq of the latest call
	sent    uint64        // calls up to this seq may have been sent; those after it surely were not
	err     error         // why nothing can be sent any more; nil while the connection is good
	blocked bool          // someone waits for room
	asked   time.Time     // when the oldest call was queued of those that have been unanswered together since
	room    chan struct{} // closed, and made anew, when blocked and there may be room again

	goodbye  atomic.Bool   // the server says goodbye, with all answered that it has applied; set before any call that writes
	answered atomic.Uint64 // calls up to this seq have their answers; the reader's to change
	heard    atomic.Int64  // when bytes came last, in nanoseconds since Client.born; the reader's to change

	wake     chan struct{} // holds a token when frames is not empty
	broken   chan struct{} // closed when err is set
	finished chan struct{} // closed when both goroutines are gone and every call has been answered or has failed
	written  chan struct{} // closed when the writer is gone
}

func (p *pipeline) init() {
	p.room = make(chan struct{})
	p.wake = make(chan struct{}, 1)
	p.broken = make(chan struct{})
	p.finished = make(chan struct{})
	p.written = make(chan struct{})
}

// full reports whether Start has to wait. The lock is held.
func (p *pipeline) full() bool { return len(p.frames) >= maxFrames || len(p.waiting) >= maxWaiting }

// madeRoom lets those that wait for room look again. The lock is held.
func (p *pipeline) madeRoom() {
	if p.blocked {
		p.blocked = false
		close(p.room)
		p.room = make(chan struct{})
	}
}

// Start queues one request and returns at once; its answer comes through Wait. Where too much is queued it waits for
// room. frame appends exactly one whole request frame, with this id, to dst, as protocol.Set{...}.AppendTo does. It must
// not call back into the client.
//
// Start never fails: what keeps a request from being sent is the error of Wait.
//
// In a cluster it goes to the server that led last. If that is another by now, the error of Wait is protocol.ErrMoved:
// nothing was applied, and the next request of another method finds the new one.
func (c *Client) Start(ctx context.Context, frame func(dst []byte, id uint32) []byte) *Call {
	c = c.current()
	k := &Call{done: make(chan struct{})}
	c.start(ctx, k, c.deadline(), frame)
	return k
}

// deadline is when a request that begins now is late; zero: never.
func (c *Client) deadline() time.Time {
	if c.timeout > 0 {
		return time.Now().Add(c.timeout)
	}
	return time.Time{}
}

// do sends one request, waits until deadline, and returns the body of an OK answer.
func (c *Client) do(ctx context.Context, deadline time.Time, frame func(dst []byte, id uint32) []byte) ([]byte, error) {
	k := c.calls.Get().(*Call)
	c.start(ctx, k, deadline, frame)
	if err := k.await(ctx); err != nil {
		return nil, err // k still waits for its answer, so it can't be used again
	}
	_, body, err := k.result()
	k.body, k.err, k.client = nil, nil, nil
	c.calls.Put(k)
	return body, err
}

func (c *Client) start(ctx context.Context, k *Call, deadline time.Time, frame func(dst []byte, id uint32) []byte) {
	k.client = c
	k.deadline = deadline
	if !deadline.IsZero() {
		k.began = time.Now()
	}
	if err := c.queue(ctx, k, frame); err != nil {
		k.finish(protocol.Header{}, nil, err)
	}
}

// queue appends the request to the pipeline. After an error it is not in it.
func (c *Client) queue(ctx context.Context, k *Call, frame func(dst []byte, id uint32) []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("not sent: %w", err)
	}
	p := &c.pipe
	p.mu.Lock()
	for p.err == nil && p.full() {
		if err := c.awaitRoom(ctx, k); err != nil {
			p.mu.Unlock()
			return err
		}
	}
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	k.seq = p.started + 1
	k.id = uint32(k.seq)
	had := len(p.frames)
	frames := frame(p.frames, k.id)
	h, err := c.checkFrame(frames[had:], k.id)
	if err != nil {
		return err
	}
	k.op = h.Opcode
	if p.answered.Load() == p.started {
		p.asked = time.Now()
	}
	p.frames = frames
	p.started = k.seq
	p.waiting = append(p.waiting, k)
	if had == 0 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// awaitRoom gives up the lock until there may be room, and takes it again.
func (c *Client) awaitRoom(ctx context.Context, k *Call) error {
	p := &c.pipe
	p.blocked = true
	room := p.room
	p.mu.Unlock()
	defer p.mu.Lock()
	var late <-chan time.Time
	if !k.deadline.IsZero() {
		t := time.NewTimer(time.Until(k.deadline))
		defer t.Stop()
		late = t.C
	}
	select {
	case <-room:
	case <-p.broken:
	case <-ctx.Done():
		c.givenUp(ctx)
		return fmt.Errorf("not sent: %w", ctx.Err())
	case <-late:
		c.overdue(k)
		return fmt.Errorf("not sent: %w", lateError(c.timeout))
	}
	return nil
}

// checkFrame looks at what a frame function appended.
func (c *Client) checkFrame(b []byte, id uint32) (protocol.Header, error) {
	if len(b) < protocol.HeaderSize {
		return protocol.Header{}, fmt.Errorf("not sent: %d bytes are not a frame", len(b))
	}
	h := protocol.ParseHeader(b)
	switch limit := c.hello.Limit; {
	case !protocol.Fits(len(b) - protocol.HeaderSize):
		return h, tooLarge("%v of %d bytes: no frame may be that long", h.Opcode, len(b))
	case limit != 0 && h.Length > limit:
		return h, tooLarge("%v of %d bytes: the server takes no more than %d", h.Opcode, len(b), limit)
	case h.Size() != len(b) || h.ID != id:
		return h, fmt.Errorf("not sent: %d bytes are not one whole frame with id %d", len(b), id)
	}
	return h, nil
}

// tooLarge is the error of a request that the server would refuse, so that it need not be sent.
func tooLarge(format string, args ...any) error {
	return &protocol.Error{Status: protocol.StatusTooLarge, Message: fmt.Sprintf(format, args...)}
}

// refuse makes every later request fail with err. The first error stays.
func (c *Client) refuse(err error) {
	p := &c.pipe
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.broken)
	}
}

// fail ends the connection. The reader then fails all calls.
func (c *Client) fail(err error) {
	c.refuse(err)
	c.conn.Close()
}

// impatience is how long nothing may come, at least, until a request that its context gave less time breaks the connection: the
// requests of others are under way there too.
const impatience = time.Second

// overdue is called when a request has run into the client's Timeout. If nothing at all has come since it began, it ends the
// connection: after a partition of the network the kernel would go on for a quarter of an hour.
func (c *Client) overdue(k *Call) {
	if heard := c.lastHeard(); !heard.After(k.began) {
		c.failSilent(time.Since(k.began))
	}
}

// givenUp is called when nobody waits for a request any more because its context is done. If its time ran out, it ends
// the connection after impatience.
func (c *Client) givenUp(ctx context.Context) {
	if ctx.Err() != context.DeadlineExceeded {
		return
	}
	p := &c.pipe
	p.mu.Lock()
	from, waiting := p.asked, p.answered.Load() < p.started
	p.mu.Unlock()
	if heard := c.lastHeard(); heard.After(from) {
		from = heard
	}
	if silence := time.Since(from); waiting && silence >= impatience {
		c.failSilent(silence)
	}
}

func (c *Client) failSilent(silence time.Duration) {
	c.fail(fmt.Errorf("%w: nothing came from the server for %v, and requests waited", ErrClosed, silence.Round(time.Millisecond)))
}

// lastHeard is when bytes came last; before any came, when the connection was made.
func (c *Client) lastHeard() time.Time { return c.born.Add(time.Duration(c.pipe.heard.Load())) }

// malformed ends the connection after an answer that the protocol does not allow, and returns the error of its request.
func (c *Client) malformed(op protocol.Opcode, err error) error {
	err = broken(err)
	c.fail(err)
	return lost(op, err)
}

// broken is the error of a connection that ended because of cause.
func broken(cause error) error {
	if errors.Is(cause, ErrClosed) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrClosed, cause)
}

// writeFrames is the writer goroutine.
func (c *Client) writeFrames() {
	p := &c.pipe
	defer close(p.written)
	var spare []byte
	for {
		select {
		case <-p.wake:
		case <-p.broken:
			return
		}
		runtime.Gosched() // whoever is about to ask does so first, and one write takes it all along
		p.mu.Lock()
		if p.err != nil {
			p.mu.Unlock()
			return
		}
		frames := p.frames
		p.frames = spare[:0]
		p.sent = p.started
		p.madeRoom()
		p.mu.Unlock()
		if _, err := c.conn.Write(frames); err != nil {
			// What the server said before is still to be read, and may be the reason. It gets a moment for that.
			c.refuse(broken(err))
			c.conn.SetReadDeadline(time.Now().Add(lastWords))
			return
		}
		if spare = frames; cap(spare) > keepFrames {
			spare = nil
		}
	}
}
