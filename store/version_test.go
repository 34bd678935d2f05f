package store

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// slowAppend is a journal that keeps writes of one key waiting once they have their version.
type slowAppend struct {
	*fakeJournal
	key     string
	ordered chan struct{} // it has its version
	goOn    chan struct{}
}

func (j *slowAppend) Append(floor uint64, entries []*Entry) (uint64, error) {
	version, err := j.fakeJournal.Append(floor, entries)
	if string(entries[0].Key()) == j.key {
		j.ordered <- struct{}{}
		<-j.goOn
	}
	return version, err
}

// What versions do not say: between writes of different keys that are under way at the same time, the lower version may take
// effect later. A reader may see the higher and not the lower one; that has not been answered then. A walk, which waits
// for each shard's lock once, sees all that has a version when it begins: so can whoever needs that.
func TestVersionsAreNotTheOrderOfEffect(t *testing.T) {
	const slow = "a"
	j := &slowAppend{newFakeJournal(), slow, make(chan struct{}), make(chan struct{})}
	s := openTest(t, Options{Journal: j}, fullHash)
	quick := "b"
	for i := 0; s.shardOf(s.hash([]byte(quick))) == s.shardOf(s.hash([]byte(slow))); i++ {
		quick = fmt.Sprint("b", i)
	}
	answered := make(chan uint64, 1)
	go func() {
		c := s.Store.Session()
		defer c.Close()
		version, _ := c.Set([]byte(slow), nil, SetOptions{})
		answered <- version
	}()
	<-j.ordered
	higher := s.put(t, quick, "")

	seen := s.MGet(nil, keysOf(slow, quick))
	require.Nil(t, seen[0])
	require.Equal(t, higher, seen[1].Version())
	select {
	case <-answered:
		require.Fail(t, "a write that is not seen was answered")
	default:
	}

	walked := make(chan map[string]uint64)
	go func() {
		all := map[string]uint64{}
		s.Walk(func(e *Entry) error {
			all[string(e.Key())] = e.Version()
			return nil
		})
		walked <- all
	}()
	close(j.goOn)
	lower := <-answered
	require.Less(t, lower, higher)
	require.Equal(t, map[string]uint64{slow: lower, quick: higher}, <-walked)
}

// What versions say, of writes and reads of any number of clients: of one key, and of all that one transaction writes,
// their order is the order of effect. A write that begins after another was answered has the higher version. And who
// reads sees all that was answered before, whatever versions else it sees.
func TestWhatVersionsOrder(t *testing.T) {
	for _, m := range masks {
		for _, journaled := range []bool{false, true} {
			t.Run(fmt.Sprint(m.name, journaled), func(t *testing.T) {
				o := Options{}
				if journaled {
					o.Journal = dawdler{newFakeJournal()}
				}
				s := openTest(t, o, m.mask)
				const writers, pairs = 4, 8
				keys := make([][]byte, 2*pairs)
				for i := range keys {
					keys[i] = binary.BigEndian.AppendUint16(nil, uint16(i))
				}
				var newest atomic.Uint64 // of all that was answered
				var last [pairs]atomic.Uint64
				raise := func(a *atomic.Uint64, v uint64) {
					for old := a.Load(); old < v && !a.CompareAndSwap(old, v); old = a.Load() {
					}
				}
				var writing, reading sync.WaitGroup
				for w := range writers {
					writing.Go(func() {
						c := s.Store.Session()
						defer c.Close()
						rng := rand.New(rand.NewPCG(uint64(w), 0))
						for range soak(80, 50_000) {
							i := rng.IntN(pairs)
							before := newest.Load()
							version, err := c.MSet([]Pair{{Key: keys[2*i]}, {Key: keys[2*i+1]}})
							if err != nil || version <= before {
								t.Errorf("version %d for a write that began after %d was answered: %v", version, before, err)
								return
							}
							raise(&last[i], version)
							raise(&newest, version)
						}
					})
				}
				stop := make(chan struct{})
				for range 2 {
					reading.Go(func() {
						c := s.Store.Session()
						defer c.Close()
						var got []*Entry
						var seen, answered [pairs]uint64
						for {
							select {
							case <-stop:
								return
							default:
								runtime.Gosched()
							}
							for i := range answered {
								answered[i] = last[i].Load()
							}
							got = c.MGet(got[:0], keys)
							for i := range pairs {
								a, b := versionAt(got[2*i]), versionAt(got[2*i+1])
								if a != b || a < answered[i] || a < seen[i] {
									t.Errorf("saw %d and %d of one write, after %d was answered and %d seen", a, b, answered[i], seen[i])
									return
								}
								seen[i] = a
							}
						}
					})
				}
				writing.Wait()
				close(stop)
				reading.Wait()
			})
		}
	}
}

// versionAt returns the version of an entry, 0 for none.
func versionAt(e *Entry) uint64 {
	if e == nil {
		return 0
	}
	return e.Version()
}
