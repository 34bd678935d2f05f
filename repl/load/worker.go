package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"kv/protocol"
	"kv/protocol/client"
)

// worker makes load on one connection.
type worker struct {
	o          BenchOptions
	ctx        context.Context
	number     int
	conn       net.Conn
	start, end time.Time

	// Of the goroutine that sends.
	random *rand.Rand
	zipf   *rand.Zipf // nil: uniform
	key    []byte
	value  []byte
	out    []byte

	// Of the goroutine that receives.
	in       *bufio.Reader
	now      time.Time // when the bytes in the buffer of in came
	result   BenchResult
	answered atomic.Int64 // for the progress bar
}

// appendRequest appends one request of the mix.
func (w *worker) appendRequest(dst []byte) []byte {
	var i uint64
	switch {
	case w.zipf != nil:
		i = w.zipf.Uint64()
	default:
		i = w.random.Uint64N(uint64(w.o.Keys))
	}
	w.key = w.o.appendKey(w.key[:0], i)
	n := w.random.IntN(w.o.Get + w.o.Set + w.o.Del)
	switch {
	case n < w.o.Get:
		return protocol.Get{Key: w.key}.AppendTo(dst, 0)
	case n < w.o.Get+w.o.Set:
		return protocol.Set{Key: w.key, Value: w.value}.AppendTo(dst, 0)
	}
	return protocol.AppendKeys(dst, protocol.OpDel, 0, 0, w.key)
}

// closedLoop sends a batch, waits for all its answers, and again.
func (w *worker) closedLoop(ctx context.Context) {
	for ctx.Err() == nil && time.Now().Before(w.end) {
		w.out = w.out[:0]
		for range w.o.Pipeline {
			w.out = w.appendRequest(w.out)
		}
		sent := time.Now()
		w.arm(sent)
		if _, err := w.conn.Write(w.out); err != nil {
			w.result.Unanswered += int64(w.o.Pipeline)
			w.fail(err)
			return
		}
		for i := range w.o.Pipeline {
			if _, err := w.receive(); err != nil {
				w.result.Unanswered += int64(w.o.Pipeline - i)
				w.fail(err)
				return
			}
			w.record(w.now.Sub(sent))
		}
	}
}

// arm sets the deadline of the requests that are sent now and of their answers; an earlier one once ctx is done.
func (w *worker) arm(now time.Time) {
	limit := time.Time{}
	if w.o.Client.Timeout > 0 {
		limit = now.Add(w.o.Client.Timeout)
	}
	w.conn.SetDeadline(limit)
	if w.ctx.Err() != nil { // it may have ended before the deadline was set
		w.conn.SetDeadline(time.Now().Add(lastAnswers))
	}
}

// openLoop sends by the clock, whatever the answers do, and another goroutine takes the answers. A PING ends them.
func (w *worker) openLoop(ctx context.Context) {
	interval := time.Duration(min(maxInterval, float64(time.Second)*float64(w.o.Connections)/w.o.Rate))
	// The connections take turns.
	first := w.start.Add(time.Duration(float64(interval) * float64(w.number) / float64(w.o.Connections)))
	due := func(n int64) time.Time { return first.Add(time.Duration(n) * interval) }
	received := make(chan int64)
	w.arm(w.end)
	go func() {
		var n int64
		defer func() { received <- n }()
		for ; ; n++ {
			op, err := w.receive()
			if err != nil {
				w.fail(err)
				return
			}
			if op == protocol.OpPing {
				return
			}
			w.record(w.now.Sub(due(n)))
		}
	}()
	var sent int64
	for ctx.Err() == nil {
		now := time.Now()
		if wait := due(sent).Sub(now); wait > 0 {
			if !due(sent).Before(w.end) {
				break
			}
			sleep(ctx, wait)
			continue
		}
		w.out = w.out[:0]
		for n := 0; n < maxBurst && len(w.out) < maxBurstBytes && !due(sent).After(now) && due(sent).Before(w.end); n++ {
			w.out = w.appendRequest(w.out)
			sent++
		}
		if len(w.out) == 0 {
			break
		}
		if _, err := w.conn.Write(w.out); err != nil {
			w.conn.SetReadDeadline(time.Now().Add(lastAnswers))
			break
		}
	}
	w.conn.Write(protocol.AppendHeader(nil, protocol.OpPing, 0, 0, 0))
	w.result.Unanswered = sent - <-received
}

// Bounds of an open loop.
const (
	maxBurst      = 512     // requests that one which is late sends at once
	maxBurstBytes = 1 << 20 // bytes of them after which no more is added
	maxInterval   = 1 << 60 // nanoseconds from one request of a connection to the next
)

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// receive takes one answer and counts it.
func (w *worker) receive() (protocol.Opcode, error) {
	if w.in.Buffered() < protocol.HeaderSize {
		if _, err := w.in.Peek(protocol.HeaderSize); err != nil {
			return 0, err
		}
		w.now = time.Now()
	}
	head, _ := w.in.Peek(protocol.HeaderSize)
	h := protocol.ParseHeader(head)
	if err := protocol.CheckLength(h.Length); err != nil {
		return 0, err
	}
	w.in.Discard(protocol.HeaderSize)
	if s := h.Status(); s != protocol.StatusOK && s != protocol.StatusNotFound {
		body := make([]byte, min(h.BodySize(), 1<<10))
		if _, err := io.ReadFull(w.in, body); err != nil {
			return 0, err
		}
		w.result.Refused++
		w.fail(protocol.ParseError(h.Opcode, s, body))
		if h.Opcode == 0 {
			return 0, w.result.Err
		}
		_, err := w.in.Discard(h.BodySize() - len(body))
		return h.Opcode, err
	}
	late := w.in.Buffered() < h.BodySize()
	if _, err := w.in.Discard(h.BodySize()); err != nil {
		return 0, err
	}
	if late {
		w.now = time.Now()
	}
	switch h.Opcode {
	case protocol.OpGet:
		w.result.Gets++
		if h.Status() == protocol.StatusNotFound {
			w.result.Missing++
		}
	case protocol.OpSet:
		w.result.Sets++
	case protocol.OpDel:
		w.result.Dels++
	case protocol.OpPing:
	default:
		return 0, fmt.Errorf("%w: %v", errUnexpected, h.Opcode)
	}
	return h.Opcode, nil
}

func (w *worker) record(latency time.Duration) {
	w.result.Latency.RecordValue(min(max(1, int64(latency)), maxLatency))
	w.answered.Add(1)
}

// rawDial makes a connection that is greeted and has nothing under way.
func rawDial(ctx context.Context, o BenchOptions) (net.Conn, error) {
	if o.Client.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Client.Timeout)
		defer cancel()
	}
	dial := (&net.Dialer{}).DialContext
	if o.Client.TLS != nil {
		dial = (&tls.Dialer{Config: o.Client.TLS}).DialContext
	}
	network, address := client.Network(o.Addr)
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if o.Client.User == "" && o.Client.Secret == "" {
		return conn, nil
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	hello := protocol.Hello{Version: protocol.Version, User: []byte(o.Client.User), Secret: []byte(o.Client.Secret)}
	head := make([]byte, protocol.HeaderSize)
	_, err = conn.Write(hello.AppendTo(nil, 0))
	if err == nil {
		_, err = io.ReadFull(conn, head)
	}
	if h := protocol.ParseHeader(head); err == nil {
		if err = protocol.CheckLength(h.Length); err == nil {
			body := make([]byte, min(h.BodySize(), 64<<10))
			if _, err = io.ReadFull(conn, body); err == nil {
				err = protocol.ParseError(h.Opcode, h.Status(), body)
			}
		}
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("greet %s: %w", o.Addr, err)
	}
	conn.SetDeadline(time.Time{})
	return conn, nil
}
