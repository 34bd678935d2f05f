package repl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"kv/protocol"
	"kv/repl/load"
)

// benchPrefix begins every key that bench touches.
const benchPrefix = "kvc-bench:"

func benchCommand() *command {
	return &command{
		name:  "bench",
		short: "Measure the server under load.",
		long: "It touches only keys that begin with `" + benchPrefix +
			"`: it stores them first, if the mix reads, and deletes them with all their versions at the end, however it ends, unless `--keep` is given; a second Ctrl-C leaves them. " +
			"Without `--rate` the loop is closed: each connection keeps `--pipeline` requests under way and waits for their answers. " +
			"With `--rate` it is open: requests are sent by the clock, whatever the answers do, and a latency begins when the request was due, so that it is free of coordinated omission. " +
			"In a cluster a mix that writes is for the server that leads, and one that only reads for the one that `--addr` names. " +
			"The report is on stderr; with `--json` a document is on stdout too.",
		examples: []example{
			{"bench --duration 2s", "90 % get, 10 % set, 50 connections"},
			{"bench --mix set=1 --pipeline 16 --duration 2s", "plain sets, pipelined"},
			{"bench --rate 5000 --duration 2s", "an open loop"},
			{"bench --keys 100000 --distribution zipf --value-size 1KiB --duration 2s --json", "as JSON"},
		},
		build: func(f flags) func(*call) error {
			o := load.BenchOptions{Connections: 50, Pipeline: 1, Keys: 10_000, ValueSize: 32,
				Duration: 10 * time.Second, Prefix: benchPrefix}
			mix := weights{get: 90, set: 10}
			var keep bool
			flagVar(f, &mix, "mix", "", "MIX", "what share each operation has: get=90,set=10; del is the third", parseMix)
			flagVar(f, &o.Keys, "keys", "", "N", "how many keys", parseCount)
			flagVar(f, &o.ValueSize, "value-size", "", "SIZE", "the size of a value", parseSize)
			flagVar(f, &o.Zipf, "distribution", "", "uniform|zipf",
				"which keys: all alike, or a few much more than others", parseDistribution)
			flagVar(f, &o.Connections, "connections", "", "N", "how many connections", parseCount)
			flagVar(f, &o.Pipeline, "pipeline", "", "N", "requests under way on each connection", parseCount)
			flagVar(f, &o.Duration, "duration", "", "DURATION", "how long to measure", parsePositiveDuration)
			flagVar(f, &o.Rate, "rate", "", "N", "operations a second: an open loop", parseRate)
			f.bool(&keep, "keep", "", "leave the keys in the store")
			return func(c *call) error {
				o.Get, o.Set, o.Del = mix.get, mix.set, mix.del
				if o.Rate > 0 && f.Changed("pipeline") {
					return usagef("--rate and --pipeline exclude each other: an open loop has as many requests under way as it takes")
				}
				return c.bench(o, keep)
			}
		},
	}
}

// weights is a mix of operations.
type weights struct{ get, set, del int }

func (w weights) String() string { return fmt.Sprintf("get=%d,set=%d", w.get, w.set) }

func parseMix(s string) (weights, error) {
	var w weights
	for part := range strings.SplitSeq(s, ",") {
		name, number, _ := strings.Cut(part, "=")
		n, err := strconv.ParseUint(number, 10, 16)
		p, ok := map[string]*int{"get": &w.get, "set": &w.set, "del": &w.del}[name]
		if err != nil || !ok {
			return w, fmt.Errorf("a mix such as get=90,set=9,del=1")
		}
		*p = int(n)
	}
	if w.get+w.set+w.del == 0 {
		return w, fmt.Errorf("a mix of something")
	}
	return w, nil
}

func parseDistribution(s string) (zipf bool, err error) {
	switch s {
	case "uniform":
		return false, nil
	case "zipf":
		return true, nil
	}
	return false, fmt.Errorf("uniform or zipf")
}

func parseRate(s string) (float64, error) {
	r, err := strconv.ParseFloat(s, 64)
	if err != nil || !(r > 0) || r > 1e9 { // NaN is not above 0
		return 0, fmt.Errorf("operations a second, above 0")
	}
	return r, nil
}

func (c *call) bench(o load.BenchOptions, keep bool) (err error) {
	kv, err := c.client()
	if err != nil {
		return err
	}
	if o.Addr, o.Client, err = c.server(c.ctx); err != nil {
		return err
	}
	kv.FindLeader(c.ctx)
	if o.Addr = kv.Addr(); o.Set+o.Del > 0 {
		o.Addr = kv.Leader()
	}
	if err := cmp.Or(c.ctx.Err(), benchFits(o, kv.Hello().Limit)); err != nil {
		return err
	}
	if !keep {
		defer func() { c.clearBench(o, err) }()
	}
	if o.Get > 0 {
		if err := load.Fill(c.ctx, kv, o); err != nil {
			return fmt.Errorf("store the keys: %w", err)
		}
	}
	bar := c.newProgress(0)
	r, err := load.Bench(c.ctx, o, func(ops int64) {
		bar.line(fmt.Sprintf("%d operations, %.0f/s", ops, float64(ops)/time.Since(bar.start).Seconds()))
	})
	bar.clear()
	if err != nil {
		return err
	}
	c.benchReport(o, r)
	if c.opts.json {
		c.benchJSON(o, r)
	}
	return r.Err
}

// Bounds of a bench: more would be too much for this machine, not for the server.
const (
	benchConnections = 20_000
	benchMemory      = 1 << 30 // bytes of requests under way
	benchRequest     = 64      // bytes of a request besides its value, at most
)

// benchFits refuses what the server, or this machine, can't do. limit is the server's for the length of a frame.
func benchFits(o load.BenchOptions, limit uint32) error {
	if limit == 0 {
		limit = protocol.MaxLimit
	}
	if most := int(limit) - benchRequest; o.ValueSize > most {
		return usagef("--value-size: a value of %s is more than the server takes, %s", size(o.ValueSize), size(most))
	}
	if o.Connections > benchConnections {
		return usagef("--connections: no more than %d", benchConnections)
	}
	if under := float64(o.Connections) * float64(o.Pipeline) * float64(o.ValueSize+benchRequest); under > benchMemory {
		return usagef("the requests under way would be %s at a time, and no more than %s are possible: smaller values, fewer connections or a shorter pipeline",
			size(int(min(under, 1<<60))), size(benchMemory))
	}
	return nil
}

// clearBench deletes what the load left, whatever became of it: err is what ended it, nil where nothing did. After Ctrl-C,
// or where the server did not answer, it does not wait long for an answer; a second Ctrl-C ends kvc at once.
func (c *call) clearBench(o load.BenchOptions, err error) {
	if part := (*load.FillError)(nil); errors.As(err, &part) {
		o.Keys = part.Keys
	}
	if o.Keys == 0 || errors.Is(err, protocol.ErrForbidden) {
		return
	}
	if err != nil || c.ctx.Err() != nil {
		o.Patience = 3 * time.Second
	}
	ctx := context.WithoutCancel(c.ctx)
	kv, err := c.session.client(ctx) // another, where the one before broke
	if err == nil {
		if err = load.Clear(ctx, kv, o); errors.Is(err, protocol.ErrMoved) { // it is another by now
			kv.FindLeader(ctx)
			err = load.Clear(ctx, kv, o)
		}
	}
	if err != nil {
		c.complain(fmt.Errorf("not all keys could be deleted (kvc del --prefix %s does it): %w", o.Prefix, err))
	}
}

var percentiles = []float64{50, 99, 99.9, 99.99}

func milliseconds(ns int64) float64 { return float64(ns) / 1e6 }

func (c *call) benchReport(o load.BenchOptions, r *load.BenchResult) {
	loop := fmt.Sprintf("%d connections, %d requests under way on each", o.Connections, o.Pipeline)
	if o.Rate > 0 {
		loop = fmt.Sprintf("%d connections, open loop of %.0f/s", o.Connections, o.Rate)
	}
	c.notef("%d operations in %s: %.0f/s (%s)", r.Ops(), seconds(r.Elapsed), r.Rate(), loop)
	c.notef("get %d (%d found nothing), set %d, del %d; refused %d, unanswered %d",
		r.Gets, r.Missing, r.Sets, r.Dels, r.Refused, r.Unanswered)
	var b strings.Builder
	for _, p := range percentiles {
		fmt.Fprintf(&b, "p%v %.3f ms, ", p, milliseconds(r.Latency.ValueAtPercentile(p)))
	}
	c.notef("latency: %smax %.3f ms", b.String(), milliseconds(r.Latency.Max()))
	if c.env.ErrTerminal {
		c.histogram(r)
	}
}

// histogram draws the latencies: each row is twice the one above.
func (c *call) histogram(r *load.BenchResult) {
	var rows []int64
	for _, bar := range r.Latency.Distribution() {
		if bar.Count == 0 {
			continue
		}
		i := max(0, int(math.Ceil(math.Log2(float64(bar.To)/1000)))) // row i: up to 2^i µs
		for len(rows) <= i {
			rows = append(rows, 0)
		}
		rows[i] += bar.Count
	}
	most := int64(1)
	for _, n := range rows {
		most = max(most, n)
	}
	started := false
	for i, n := range rows {
		if started = started || n > 0; started {
			c.notef("  ≤ %9.3f ms %5.1f%% %s", math.Ldexp(1, i)/1000, 100*float64(n)/float64(max(1, r.Ops())),
				strings.Repeat("#", int(40*n/most)))
		}
	}
}

func (c *call) benchJSON(o load.BenchOptions, r *load.BenchResult) {
	fmt.Fprintf(c.out, `{"operations":%d,"seconds":%.3f,"rate":%.0f,"gets":%d,"missing":%d,"sets":%d,"dels":%d,"refused":%d,"unanswered":%d,"latency_ms":{`,
		r.Ops(), r.Elapsed.Seconds(), r.Rate(), r.Gets, r.Missing, r.Sets, r.Dels, r.Refused, r.Unanswered)
	for _, p := range percentiles {
		fmt.Fprintf(c.out, `"p%v":%.3f,`, p, milliseconds(r.Latency.ValueAtPercentile(p)))
	}
	fmt.Fprintf(c.out, "\"max\":%.3f}}\n", milliseconds(r.Latency.Max()))
}
