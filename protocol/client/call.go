package client

import (
	"context"
	"fmt"
	"time"

	"kv/protocol"
)

// Call is a request under way. Wait may be called any number of times, by any goroutine.
type Call struct {
	// Fixed before the call is queued.
	op       protocol.Opcode
	id       uint32
	seq      uint64    // its place among all calls of the connection, from 1
	deadline time.Time // zero: none
	began    time.Time // set where there is a deadline
	client   *Client

	// Set by whoever answers the call, once, before done says so; then only read.
	header protocol.Header
	body   []byte
	err    error
	// done says that the call is answered or has failed. It is closed then; that of a recycled call holds one token
	// instead, for the one goroutine that waits.
	done chan struct{}

	recycled bool        // fixed
	timer    *time.Timer // where recycled: the waiting goroutine's; made when first needed
}

// finish answers the call. It never blocks: it is called once.
func (k *Call) finish(h protocol.Header, body []byte, err error) {
	k.header, k.body, k.err = h, body, err
	if k.recycled {
		k.done <- struct{}{}
	} else {
		close(k.done)
	}
}

// Wait returns the answer: its header and its body, which is the caller's own. A status other than OK is an error too, a
// *[protocol.Error]. When ctx or the client's Timeout ends first, the call is only given up: its answer, when it comes, is
// dropped, or taken by another Wait. Where the time ran out the connection may be dead: see Options.Timeout.
func (k *Call) Wait(ctx context.Context) (protocol.Header, []byte, error) {
	if err := k.await(ctx); err != nil {
		return protocol.Header{}, nil, err
	}
	return k.result()
}

// await waits for the answer, or says why it gave up.
func (k *Call) await(ctx context.Context) error {
	select {
	case <-k.done: // an answer that is there counts, whatever ctx says
		return nil
	default:
	}
	var late <-chan time.Time
	if !k.deadline.IsZero() {
		timer := k.timer
		if timer == nil {
			timer = time.NewTimer(time.Until(k.deadline))
		} else {
			timer.Reset(time.Until(k.deadline))
		}
		if k.recycled {
			k.timer = timer
		}
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-k.done:
		return nil
	case <-ctx.Done():
		k.client.givenUp(ctx)
		return k.lost(fmt.Errorf("waiting for the answer to %v: %w", k.op, ctx.Err()))
	case <-late:
		k.client.overdue(k)
		return k.lost(lateError(k.client.timeout))
	}
}

// result returns the answer as Wait does. It must have come.
func (k *Call) result() (protocol.Header, []byte, error) {
	if k.err != nil {
		return protocol.Header{}, nil, k.err
	}
	if err := protocol.ParseError(k.op, k.header.Status(), k.body); err != nil {
		if _, refused := err.(*protocol.Error); !refused {
			err = k.client.malformed(k.op, err)
		}
		return k.header, k.body, err
	}
	return k.header, k.body, nil
}

// lost is the error of a call that was sent, or still will be, and has no answer because of cause.
func (k *Call) lost(cause error) error { return lost(k.op, cause) }

func lost(op protocol.Opcode, cause error) error {
	if op.Writes() {
		return fmt.Errorf("%w: %w", ErrUnknown, cause)
	}
	return cause
}

func lateError(timeout time.Duration) error {
	return fmt.Errorf("no answer within %v: %w", timeout, context.DeadlineExceeded)
}
