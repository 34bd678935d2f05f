package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"kv/protocol"
)

// listener reads the connection and notes when something came.
type listener struct{ c *Client }

func (l listener) Read(p []byte) (int, error) {
	n, err := l.c.conn.Read(p)
	if n > 0 {
		l.c.pipe.heard.Store(int64(time.Since(l.c.born)))
	}
	return n, err
}

// readAnswers is the reader goroutine: the only one that answers calls which were queued.
func (c *Client) readAnswers() {
	p := &c.pipe
	var q inbox
	err := broken(c.deliver(&q))
	c.fail(err)
	<-p.written
	p.mu.Lock()
	bye := errors.As(err, new(*protocol.Error))
	if !bye {
		err = p.err // what came first is the cause, except that a reason the server gave says more than what it led to
	}
	bye = bye && p.goodbye.Load()
	left := append(q.calls[q.next:], p.waiting...)
	p.waiting, p.frames = nil, nil
	sent := p.sent
	p.madeRoom()
	p.mu.Unlock()
	for _, k := range left {
		if k.seq <= sent && !bye {
			k.finish(protocol.Header{}, nil, k.lost(err))
		} else {
			k.finish(protocol.Header{}, nil, err)
		}
	}
	close(p.finished)
}

// inbox is the calls that the reader has taken and not answered.
type inbox struct {
	calls []*Call
	next  int
}

// peek returns the call that the next answer belongs to; nil where nothing was asked.
func (q *inbox) peek(p *pipeline) *Call {
	if q.next == len(q.calls) {
		clear(q.calls)
		p.mu.Lock()
		q.calls, p.waiting = p.waiting, q.calls[:0]
		p.madeRoom()
		p.mu.Unlock()
		q.next = 0
		if len(q.calls) == 0 {
			return nil
		}
	}
	return q.calls[q.next]
}

// deliver reads answers and gives each to its call, until it can't; it returns why.
func (c *Client) deliver(q *inbox) error {
	in := bufio.NewReaderSize(listener{c}, readBuffer)
	for first := true; ; first = false {
		if b, err := in.Peek(1); first && err == nil && b[0] >= maxFirstByte {
			c.conn.SetReadDeadline(time.Now().Add(lastWords)) // for the rest of what the server sends; it may be less than a header
		}
		head, err := in.Peek(protocol.HeaderSize)
		if first {
			c.first = bytes.Clone(head)
		}
		if err != nil {
			if err == io.EOF && len(head) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		h := protocol.ParseHeader(head)
		if err := protocol.CheckLength(h.Length); err != nil {
			return fmt.Errorf("%w: %w", protocol.ErrMalformed, err)
		}
		in.Discard(protocol.HeaderSize)
		if h.Opcode == 0 && h.ID == 0 && h.Status() != protocol.StatusOK {
			return readGoodbye(in, h)
		}
		k := q.peek(&c.pipe)
		switch {
		case k == nil:
			return fmt.Errorf("%w: %v, and nothing was asked", protocol.ErrMalformed, h.Opcode)
		case h.Opcode != k.op || h.ID != k.id || h.Reserved != 0:
			return fmt.Errorf("%w: %v with id %d, reserved %d, where %v with id %d is next",
				protocol.ErrMalformed, h.Opcode, h.ID, h.Reserved, k.op, k.id)
		}
		body, err := readBody(in, h.BodySize())
		if err != nil {
			return err
		}
		q.next++
		c.pipe.answered.Store(k.seq)
		k.finish(h, body, nil)
	}
}

// readGoodbye returns the error in a frame that answers no request: the server says why it is about to close. Where it
// knows Hello.Goodbye, what it has not answered before it has not applied.
func readGoodbye(in *bufio.Reader, h protocol.Header) error {
	body, err := readBody(in, min(h.BodySize(), firstRead))
	if err != nil {
		return err
	}
	return protocol.ParseError(h.Opcode, h.Status(), body)
}

// readBody reads a body of n bytes into memory of its own, which grows with what arrives, not with what was claimed.
func readBody(in *bufio.Reader, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	body := make([]byte, min(n, firstRead))
	for at := 0; ; {
		m, err := io.ReadFull(in, body[at:])
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if at += m; at == n {
			return body, nil
		}
		body = slices.Grow(body, min(n-at, at))[:at+min(n-at, at)]
	}
}
