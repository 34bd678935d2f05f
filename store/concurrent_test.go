package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sealed returns a value that carries its checksum, so that a torn one shows.
func sealed(rng *rand.Rand) []byte {
	b := make([]byte, 4, 4+200)
	for range rng.IntN(200) {
		b = append(b, byte(rng.Uint32()))
	}
	sum := crc32.ChecksumIEEE(b[4:])
	b[0], b[1], b[2], b[3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	return b
}

func intact(e *Entry) bool {
	b := e.Value()
	sum := crc32.ChecksumIEEE(b[4:])
	return bytes.Equal(b[:4], []byte{byte(sum), byte(sum >> 8), byte(sum >> 16), byte(sum >> 24)})
}

// crew is goroutines that work until the leading ones are done.
type crew struct {
	s       opened
	leaders sync.WaitGroup
	all     sync.WaitGroup
	over    chan struct{}
}

func newCrew(s opened) *crew { return &crew{s: s, over: make(chan struct{})} }

// lead runs work in a goroutine with a session of its own; the crew is done when all that lead are.
func (w *crew) lead(work func(c *Session, rng *rand.Rand)) {
	w.leaders.Go(func() {
		c := w.s.Store.Session()
		defer c.Close()
		work(c, rand.New(rand.NewPCG(1, 2)))
	})
}

// follow runs work again and again, from a session of its own, until those that lead are done; at least once.
func (w *crew) follow(prepare func(c *Session, rng *rand.Rand) (work func())) {
	w.all.Go(func() {
		c := w.s.Store.Session()
		defer c.Close()
		work := prepare(c, rand.New(rand.NewPCG(3, 4)))
		for {
			work()
			select {
			case <-w.over:
				return
			default:
				runtime.Gosched() // there may be fewer processors than of us
			}
		}
	})
}

func (w *crew) wait() {
	w.leaders.Wait()
	close(w.over)
	w.all.Wait()
}

// TestPairs: pairs of keys are only ever written together, so no reader sees one half without the other, or goes back in
// time, while segments split and directories double beneath.
func TestPairs(t *testing.T) {
	const pairs = 8
	var between []Pair
	for i := range 40 {
		between = append(between, Pair{fmt.Append(nil, "between", i), nil})
	}
	pair := func(i int) [][]byte { return [][]byte{fmt.Append(nil, "a", i), fmt.Append(nil, "b", i)} }
	for _, test := range []struct {
		name        string
		mask        uint64
		options     Options
		dawdling    bool
		writes, new int
	}{
		{"whole", fullHash, Options{}, false, soak(1000, 100_000), 10_000},
		{"oneShard", fullHash >> shardBits, Options{History: 1}, true, soak(300, 50_000), 2_000},
		{"constant", 0, Options{}, true, soak(300, 50_000), 50},
		{"low4", 0xf, Options{}, true, soak(300, 50_000), 500},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.dawdling {
				test.options.Journal = dawdler{newFakeJournal()}
			}
			s := openTest(t, test.options, test.mask)
			w := newCrew(s)
			for range 2 {
				w.lead(func(c *Session, rng *rand.Rand) {
					for n := range test.writes {
						k := pair(rng.IntN(pairs))
						var err error
						switch v := sealed(rng); {
						case n%10 == 9:
							_, _, err = c.Del(k)
						case n%2 == 0:
							// so long that readers come by while it is being published
							_, err = c.MSet(slices.Concat([]Pair{{k[0], v}}, between, []Pair{{k[1], v}}))
						default:
							// deleted and set again, which nobody may see
							_, _, err = c.Txn(nil, nil, []Op{
								{Kind: OpDel, Key: k[1]},
								{Kind: OpSet, Key: k[0], Value: v},
								{Kind: OpSet, Key: k[1], Value: v},
							})
						}
						assert.NoError(t, err)
					}
				})
			}
			w.lead(func(c *Session, _ *rand.Rand) {
				for i := range test.new {
					_, err := c.Set(fmt.Append(nil, "other", i), nil, SetOptions{})
					assert.NoError(t, err)
				}
			})
			same := func(what string, a, b *Entry) {
				if (a == nil) != (b == nil) {
					assert.Fail(t, "half of a pair", what)
				} else if a != nil && (a.Version() != b.Version() || !bytes.Equal(a.Value(), b.Value()) || !intact(a) || !intact(b)) {
					assert.Fail(t, "parts of two pairs", what)
				}
			}
			// A key's version never falls for one reader, whichever way it reads.
			type newest [pairs][2]uint64
			rises := func(last *newest, i int, read ...*Entry) {
				for half, e := range read {
					if e != nil {
						if e.Version() < last[i][half] {
							assert.Fail(t, "a reader went back in time")
						}
						last[i][half] = e.Version()
					}
				}
			}
			w.follow(func(c *Session, rng *rand.Rand) func() {
				var last newest
				return func() {
					i := rng.IntN(pairs)
					e := c.MGet(nil, pair(i))
					same("MGet", e[0], e[1])
					rises(&last, i, e...)
					results, _, err := c.Txn(nil, nil, []Op{{Kind: OpGet, Key: pair(i)[0]}, {Kind: OpGet, Key: pair(i)[1]}})
					assert.NoError(t, err)
					same("Txn", results[0].Entry, results[1].Entry)
					rises(&last, i, results[0].Entry, results[1].Entry)
					rises(&last, i, c.Get(pair(i)[0]), c.Get(pair(i)[1]))
				}
			})
			w.follow(func(c *Session, rng *rand.Rand) func() {
				var held []*Entry
				return func() {
					i := rng.IntN(pairs)
					a := c.Get(pair(i)[0])
					b := c.Get(pair(i)[1])
					if a != nil && b != nil && b.Version() < a.Version() {
						assert.Fail(t, "the second half is older than the first, which was read before it")
					}
					// What a reader holds stays as it is, whatever overwrites it.
					for _, e := range append(held, a, b) {
						if e != nil && !intact(e) {
							assert.Fail(t, "a torn value")
						}
					}
					if held = append(held, a, b); len(held) > 50 {
						held = held[10:]
					}
				}
			})
			w.follow(func(c *Session, _ *rand.Rand) func() {
				return func() {
					// One instant: all pairs, in one MGet that is too long not to be disturbed.
					var keys [][]byte
					for i := range pairs {
						keys = append(keys, pair(i)...)
					}
					e := c.MGet(nil, keys)
					for i := range pairs {
						same("long MGet", e[2*i], e[2*i+1])
					}
				}
			})
			w.wait()
		})
	}
}

// TestStatsOfOneInstant: keys come and go in pairs, so their number is even at every instant.
func TestStatsOfOneInstant(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	w := newCrew(s)
	for id := range 2 {
		w.lead(func(c *Session, rng *rand.Rand) {
			for range 5000 {
				i := rng.IntN(100)
				a, b := fmt.Sprint(id, "a", i), fmt.Sprint(id, "b", i)
				_, err := c.MSet(pairsOf(a, "xyz", b, "xyz"))
				assert.NoError(t, err)
				if i%2 == 0 {
					_, _, err = c.Del(keysOf(a, b))
					assert.NoError(t, err)
				}
			}
		})
	}
	w.follow(func(c *Session, _ *rand.Rand) func() {
		return func() {
			got := c.Stats()
			assert.Zero(t, got.Keys%2)
			assert.Equal(t, got.Keys*3, got.ValueBytes)
		}
	})
	w.wait()
	require.EqualValues(t, 20_000, s.Stats().SetOps)
}

// TestIncrements: of conditional writes that read before they write none gets lost.
func TestIncrements(t *testing.T) {
	for _, m := range masks {
		t.Run(m.name, func(t *testing.T) {
			const each, counters = 300, 2
			s := openTest(t, Options{}, m.mask)
			w := newCrew(s)
			for range 3 {
				w.lead(func(c *Session, _ *rand.Rand) {
					for done := 0; done < each; {
						conds, ops := []Condition{}, []Op{}
						for i := range counters {
							key, n, version := fmt.Append(nil, i), 0, uint64(0)
							if e := c.Get(key); e != nil {
								n, version = len(e.Value()), e.Version()
							}
							conds = append(conds, Condition{key, version})
							ops = append(ops, Op{Kind: OpSet, Key: key, Value: make([]byte, n+1)})
						}
						_, _, err := c.Txn(nil, conds, ops)
						var conflict *ConflictError
						if errors.As(err, &conflict) {
							continue
						}
						assert.NoError(t, err)
						done++
					}
				})
			}
			w.wait()
			for i := range counters {
				require.Equal(t, 3*each, s.Get(fmt.Append(nil, i)).Len())
			}
		})
	}
}

// TestExpiryBesideSplits: whatever splits while a sweep is under way, in the end nothing that has expired is left.
func TestExpiryBesideSplits(t *testing.T) {
	for range soak(3, 100) {
		s := openTest(t, Options{}, fullHash>>shardBits)
		w := newCrew(s)
		for id := range 2 {
			w.lead(func(c *Session, rng *rand.Rand) {
				for i := range 3000 {
					_, err := c.Set(fmt.Append(nil, id, "-", i), nil, SetOptions{TTL: uint64(1 + rng.IntN(20))})
					assert.NoError(t, err)
				}
			})
		}
		w.follow(func(c *Session, rng *rand.Rand) func() {
			return func() {
				s.clock.pass(1)
				s.sweep()
			}
		})
		w.wait()
		s.clock.pass(20)
		s.sweep()
		require.Zero(t, s.Stats().Keys)
	}
}

// TestHistoryAtTheLimit: writers that give up history for each other keep within the limit, and always get on.
func TestHistoryAtTheLimit(t *testing.T) {
	s := openTest(t, Options{History: 3}, fullHash)
	s.budget.limit = s.budget.used.Load() + 2<<20
	w := newCrew(s)
	for range 3 {
		w.lead(func(c *Session, rng *rand.Rand) {
			for range 2000 {
				a, b := fmt.Sprint(rng.IntN(4000)), fmt.Sprint(rng.IntN(4000))
				_, err := c.Set([]byte(a), sealed(rng), SetOptions{})
				assert.NoError(t, err)
				_, err = c.MSet([]Pair{{[]byte(a), sealed(rng)}, {[]byte(b), sealed(rng)}})
				assert.NoError(t, err)
				if past := c.History(nil, []byte(b), 0); len(past) > 0 { // an eviction may come first
					_, err = c.Rollback([]byte(b), past[len(past)-1].Entry.Version())
					assert.True(t, err == nil || errors.Is(err, ErrNoVersion), "%v", err)
				}
				if rng.IntN(10) == 0 {
					_, _, err = c.Del(keysOf(a, b))
					assert.NoError(t, err)
				}
			}
		})
	}
	w.follow(func(c *Session, rng *rand.Rand) func() {
		return func() {
			for _, r := range c.History(nil, fmt.Append(nil, rng.IntN(4000)), 0) {
				assert.True(t, r.Entry.Deleted() || intact(r.Entry))
			}
		}
	})
	w.wait()
	require.LessOrEqual(t, s.budget.used.Load(), s.budget.limit+1<<20, "deletions, and what shrinks, may go a little beyond")
	require.NotZero(t, s.Stats().History)
}

// TestSweeperOfItsOwn: a store that was opened in earnest removes what has expired by itself, and Close ends that.
func TestSweeperOfItsOwn(t *testing.T) {
	s, err := Open(Options{})
	require.NoError(t, err)
	c := s.Session()
	defer c.Close()
	_, err = c.Set([]byte("key"), []byte("value"), SetOptions{TTL: 1})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.Stats().Keys == 0 }, 30*sweepEvery, sweepEvery/10)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.NoError(t, s.Check())
}
