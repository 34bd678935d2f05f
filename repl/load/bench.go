package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"kv/protocol"
	"kv/protocol/client"
)

// BenchOptions say what load to make. All of them must be set but for those whose zero value has a meaning.
type BenchOptions struct {
	Addr        string
	Client      client.Options
	Connections int
	Pipeline    int // closed loop: requests under way on each connection
	Keys        int // how many different keys, Prefix and a number each
	Prefix      string
	ValueSize   int
	Get, Set    int // weights of the operations in the mix
	Del         int
	Zipf        bool          // some keys are used much more than others; else all alike
	Rate        float64       // open loop: operations a second, of all connections together; 0: closed loop
	Duration    time.Duration // how long to measure
	Patience    time.Duration // how long an answer may take when the keys are deleted; 0: as long as the client waits
}

// BenchResult is what was measured. A latency is in nanoseconds. In a closed loop it begins when a batch is written; in an
// open loop when the schedule wanted the request to be sent, whether it could be or not, so that a server which stalls is
// not spared the requests that would have met the stall.
type BenchResult struct {
	Gets, Sets, Dels int64
	Missing          int64 // GETs that found nothing
	Refused          int64 // answers that were errors
	Unanswered       int64 // requests whose answer never came
	Elapsed          time.Duration
	Latency          *hdrhistogram.Histogram
	Err              error // the first error of a connection, or of an answer
}

// Ops is how many operations were answered.
func (r *BenchResult) Ops() int64 { return r.Gets + r.Sets + r.Dels }

// Rate is how many operations were answered in a second.
func (r *BenchResult) Rate() float64 { return float64(r.Ops()) / r.Elapsed.Seconds() }

// Latencies beyond this are counted as this.
const maxLatency = int64(10 * time.Minute)

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency, 3) }

// lastAnswers is how long answers to requests under way are waited for once ctx is done: then it is known what they
// have stored, and that can be deleted.
const lastAnswers = time.Second

// Bench makes load until the time is over or ctx is done. progress is told now and then how many operations were
// answered so far; it may be nil.
func Bench(ctx context.Context, o BenchOptions, progress func(ops int64)) (*BenchResult, error) {
	var workers []*worker
	for i := range o.Connections {
		w, err := newWorker(ctx, o, i)
		if err != nil {
			for _, w := range workers {
				w.conn.Close()
			}
			return nil, err
		}
		workers = append(workers, w)
	}
	start := time.Now()
	var done sync.WaitGroup
	for _, w := range workers {
		w.start, w.end = start, start.Add(o.Duration)
		stop := context.AfterFunc(ctx, func() { w.conn.SetDeadline(time.Now().Add(lastAnswers)) })
		done.Go(func() {
			defer w.conn.Close()
			defer stop()
			if o.Rate > 0 {
				w.openLoop(ctx)
			} else {
				w.closedLoop(ctx)
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		done.Wait()
		close(finished)
	}()
	for tick := time.NewTicker(progressEvery); ; {
		select {
		case <-tick.C:
			if progress != nil {
				progress(answered(workers))
			}
			continue
		case <-finished:
		}
		tick.Stop()
		break
	}
	return sum(workers, time.Since(start)), nil
}

const progressEvery = 200 * time.Millisecond

func sum(workers []*worker, elapsed time.Duration) *BenchResult {
	all := &BenchResult{Elapsed: elapsed, Latency: newHistogram()}
	for _, w := range workers {
		r := &w.result
		all.Gets += r.Gets
		all.Sets += r.Sets
		all.Dels += r.Dels
		all.Missing += r.Missing
		all.Refused += r.Refused
		all.Unanswered += r.Unanswered
		all.Latency.Merge(r.Latency)
		if all.Err == nil {
			all.Err = r.Err
		}
	}
	return all
}

func answered(workers []*worker) (n int64) {
	for _, w := range workers {
		n += w.answered.Load()
	}
	return n
}

// FillError is the error of a Fill that stopped half-way.
type FillError struct {
	Keys int // only keys with smaller numbers were stored, or may have been
	Err  error
}

func (e *FillError) Error() string { return e.Err.Error() }
func (e *FillError) Unwrap() error { return e.Err }

// Fill stores every key that the load reads. Its error is a *[FillError].
func Fill(ctx context.Context, c *client.Client, o BenchOptions) error {
	value := make([]byte, o.ValueSize)
	batch := max(1, min(batchRecords, batchBytes/(o.ValueSize+1)))
	sent, err := each(ctx, c, o, batch, 0, func(dst []byte, id uint32, keys [][]byte) []byte {
		pairs := make([]protocol.Pair, len(keys))
		for i, key := range keys {
			pairs[i] = protocol.Pair{Key: key, Value: value}
		}
		return protocol.AppendMSet(dst, id, pairs...)
	})
	if err != nil {
		return &FillError{sent, err}
	}
	return nil
}

// Clear deletes every key that the load used, and the versions of it that the server keeps.
func Clear(ctx context.Context, c *client.Client, o BenchOptions) error {
	for _, op := range []protocol.Opcode{protocol.OpDel, protocol.OpPurge} {
		_, err := each(ctx, c, o, batchRecords, o.Patience, func(dst []byte, id uint32, keys [][]byte) []byte {
			return protocol.AppendKeys(dst, op, 0, id, keys...)
		})
		if err != nil && !(op == protocol.OpPurge && errors.Is(err, protocol.ErrUnknownOpcode)) { // an older server can't
			return err
		}
	}
	return nil
}

// each sends frames that cover all keys, so many in each, and returns how many keys were in those that it sent.
func each(ctx context.Context, c *client.Client, o BenchOptions, batch int, patience time.Duration, frame func([]byte, uint32, [][]byte) []byte) (sent int, err error) {
	var underWay []*client.Call
	wait := func(n int) error {
		for len(underWay) > n {
			ctx, cancel := ctx, func() {}
			if patience > 0 {
				ctx, cancel = context.WithTimeout(ctx, patience)
			}
			_, _, err := underWay[0].Wait(ctx)
			cancel()
			if err != nil {
				return err
			}
			underWay = underWay[1:]
		}
		return nil
	}
	for sent < o.Keys {
		if err := wait(window - 1); err != nil {
			return sent, err
		}
		var keys [][]byte
		for len(keys) < batch && sent < o.Keys {
			keys = append(keys, o.appendKey(nil, uint64(sent)))
			sent++
		}
		underWay = append(underWay, c.Start(ctx, func(dst []byte, id uint32) []byte { return frame(dst, id, keys) }))
	}
	return sent, wait(0)
}

// appendKey appends key number i: the prefix and twelve digits.
func (o *BenchOptions) appendKey(dst []byte, i uint64) []byte {
	dst = append(dst, o.Prefix...)
	var digits [12]byte
	for p := len(digits) - 1; p >= 0; p-- {
		digits[p] = byte('0' + i%10)
		i /= 10
	}
	return append(dst, digits[:]...)
}

var errUnexpected = errors.New("unexpected answer")

func (w *worker) fail(err error) {
	if w.result.Err != nil {
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if w.ctx.Err() != nil {
			return
		}
		err = fmt.Errorf("no answer within %v: %w", w.o.Client.Timeout, err)
	}
	w.result.Err = err
}

func newWorker(ctx context.Context, o BenchOptions, number int) (*worker, error) {
	conn, err := rawDial(ctx, o)
	if err != nil {
		return nil, err
	}
	w := &worker{o: o, ctx: ctx, number: number, conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
	w.result.Latency = newHistogram()
	w.random = rand.New(rand.NewPCG(uint64(number)+1, 0x9e3779b97f4a7c15))
	if o.Zipf && o.Keys > 1 {
		w.zipf = rand.NewZipf(w.random, zipfExponent, 1, uint64(o.Keys-1))
	}
	w.value = make([]byte, o.ValueSize)
	for i := range w.value {
		w.value[i] = byte('a' + w.random.IntN(26))
	}
	return w, nil
}

// zipfExponent is as close to YCSB's 0.99 as the generator allows.
const zipfExponent = 1.01
