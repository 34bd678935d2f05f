package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kv/protocol"
	"kv/protocol/client"
)

// ledger is what was acknowledged. Its writers never stop: each sets keys that nobody else ever writes, and adds one to
// counterKey, which so never falls, whichever of the writes that had no answer come late.
type ledger struct {
	all   []*member
	begin time.Time
	keys  int           // that a writer sets in turn, so that what the nodes have does not grow; 0: each key once
	pace  time.Duration // how long a writer waits between writes, at most
	spent atomic.Int64  // how long this process has run: less than the clock says, if the machine had no time for it

	mu      sync.Mutex
	sets    int              // acknowledged
	writes  map[string]entry // the last of each key that was acknowledged
	counts  []count          // of counterKey
	last    time.Duration    // when something was acknowledged last, as spent tells
	longest time.Duration    // without anything acknowledged, since the last lap
	wrong   []error
	stale   int // reads under a bound that were refused
	fresh   int // and those that were answered
}

// entry is what a key was set to.
type entry struct {
	version uint64
	value   string
	open    string // what it may have been set to after that, without an answer; the key is not set again
}

// count is what counterKey was at a time.
type count struct {
	at time.Duration
	n  int64
}

const counterKey = "ledger-count"

func newLedger(all []*member) *ledger {
	return &ledger{all: all, begin: time.Now(), pace: 10 * time.Millisecond, writes: map[string]entry{}}
}

// connection is one to some node, which is changed for another whenever it fails.
type connection struct {
	ctx context.Context
	all []*member
	o   client.Options
	rng *rand.Rand
	c   *client.Client
}

// do has f done once; false: it has failed, and the next one asks another node.
func (c *connection) do(f func(*client.Client) error) bool {
	if c.c == nil {
		d, err := client.Dial(c.ctx, c.all[c.rng.IntN(len(c.all))].listen, c.o)
		if err != nil {
			time.Sleep(time.Millisecond)
			return false
		}
		c.c = d
	}
	err := f(c.c)
	if err != nil && !errors.Is(err, protocol.ErrStale) {
		c.c.Close()
		c.c = nil
	}
	return err == nil
}

// write is a writer, until ctx ends.
func (l *ledger) write(ctx context.Context, seed uint64, writer int) {
	c := &connection{ctx: ctx, all: l.all, o: l.all[0].options(300 * time.Millisecond),
		rng: rand.New(rand.NewPCG(seed, uint64(1000+writer)))}
	open := map[int]int{} // of the writer's keys, how often one was left for another
	for i := 0; ctx.Err() == nil; i++ {
		turn, value := i, fmt.Sprint(i)
		if l.keys > 0 {
			turn = i % l.keys
		}
		key := fmt.Sprintf("ledger-%d-%d-%d", writer, turn, open[turn])
		c.do(func(c *client.Client) error {
			version, err := c.Set(ctx, protocol.Set{Key: []byte(key), Value: []byte(value)})
			switch {
			case err == nil:
				l.acknowledged(func(time.Duration) { l.writes[key] = entry{version: version, value: value}; l.sets++ })
			case errors.Is(err, client.ErrUnknown):
				open[turn]++
				l.leave(key, value)
			}
			return err
		})
		c.do(func(c *client.Client) error {
			n, _, err := c.Incr(ctx, protocol.Incr{Key: []byte(counterKey), By: 1})
			if err == nil {
				l.acknowledged(func(now time.Duration) { l.counts = append(l.counts, count{now, n}) })
			}
			return err
		})
		time.Sleep(time.Duration(c.rng.Int64N(int64(l.pace))))
	}
	if c.c != nil {
		c.c.Close()
	}
}

// leave notes that a key may have been set.
func (l *ledger) leave(key, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.writes[key]; ok {
		e.open = value
		l.writes[key] = e
	}
}

func (l *ledger) acknowledged(note func(now time.Duration)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	note(time.Since(l.begin))
	now := time.Duration(l.spent.Load())
	l.longest = max(l.longest, now-l.last)
	l.last = now
}

// spend counts the time, until ctx ends.
func (l *ledger) spend(ctx context.Context) {
	const pulse = 10 * time.Millisecond
	for last := time.Now(); ctx.Err() == nil; {
		time.Sleep(pulse)
		now := time.Now()
		l.spent.Add(int64(min(now.Sub(last), 10*pulse)))
		last = now
	}
}

// lap returns for how long nothing was acknowledged, at most, since it was called last.
func (l *ledger) lap() (longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest, l.longest = max(l.longest, time.Duration(l.spent.Load())-l.last), 0
	return longest
}

// least is what counterKey must be at least by what was acknowledged until then.
func (l *ledger) least(until time.Duration) (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.counts) - 1; i >= 0; i-- { // nearly in order: two writers are side by side
		if c := l.counts[i]; c.at <= until {
			if n = max(n, c.n); until-c.at > time.Second {
				break
			}
		}
	}
	return n
}

// read reads counterKey at any node, until ctx ends: it must not be older than the bound; 0: not at all.
func (l *ledger) read(ctx context.Context, seed uint64, bound time.Duration) {
	c := &connection{ctx: ctx, all: l.all, o: l.all[0].options(time.Second), rng: rand.New(rand.NewPCG(seed, uint64(2000+bound)))}
	c.o.MaxStale = bound
	for ctx.Err() == nil {
		c.do(func(conn *client.Client) error {
			least := l.least(time.Since(l.begin) - bound)
			values, err := conn.MGet(ctx, []byte(counterKey))
			l.mu.Lock()
			defer l.mu.Unlock()
			if errors.Is(err, protocol.ErrStale) {
				l.stale++
			}
			if err != nil {
				return err
			}
			l.fresh++
			n := int64(0)
			fmt.Sscan(string(values[0].Data), &n)
			if n < least {
				l.wrong = append(l.wrong, fmt.Errorf("a read at %s, which may be %v old, was %d, and %d was acknowledged before that", conn.Addr(), bound, n, least))
			}
			return nil
		})
		time.Sleep(time.Duration(c.rng.IntN(20)) * time.Millisecond)
		if c.rng.IntN(20) == 0 && c.c != nil { // another node's turn
			c.c.Close()
			c.c = nil
		}
	}
	if c.c != nil {
		c.c.Close()
	}
}

// compare says what of all that was acknowledged is not in what a node has.
func (l *ledger) compare(has map[string]protocol.Value) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	wrong := slices.Clone(l.wrong)
	for key, e := range l.writes {
		v, ok := has[key]
		last := v.Version == e.version && string(v.Data) == e.value
		late := e.open != "" && v.Version > e.version && string(v.Data) == e.open
		if !ok || !last && !late {
			wrong = append(wrong, fmt.Errorf("%s was acknowledged as %+v, and is %q with version %d", key, e, v.Data, v.Version))
		}
	}
	if len(wrong) > 10 {
		wrong = append(wrong[:10], fmt.Errorf("and %d more", len(wrong)-10))
	}
	return errors.Join(wrong...)
}
