package store

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"kv/store/linear"
)

// dawdler is a journal that lets others run while a write holds its locks, so that they meet writes that are half done.
type dawdler struct{ *fakeJournal }

func (d dawdler) Append(floor uint64, entries []*Entry) (uint64, error) {
	for range len(entries) % 4 {
		runtime.Gosched()
	}
	return d.fakeJournal.Append(floor, entries)
}

// TestLinearizable: whatever clients do side by side, over few keys, is explained by an order of their requests.
func TestLinearizable(t *testing.T) {
	tests := []struct {
		name     string
		mask     uint64
		options  Options
		dawdling bool
	}{
		{"plain", fullHash, Options{}, false},
		{"one bucket", 0, Options{History: 2}, true},
		{"splitting", fullHash >> shardBits, Options{}, true},
	}
	for round := range soak(len(tests), 100) {
		test := tests[round%len(tests)]
		t.Run(fmt.Sprintf("%d/%s", round, test.name), func(t *testing.T) {
			o := test.options
			if test.dawdling {
				o.Journal = dawdler{newFakeJournal()}
			}
			s := openTest(t, o, test.mask)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			defer wg.Wait()
			defer close(stop)
			wg.Go(func() { s.crowd(stop) })
			history := s.watch(t, 2000, uint64(round))
			require.Len(t, history, 6*2000)
			require.NoError(t, linear.Check(history, 5*time.Minute))
		})
	}
}

// TestNotLinearizable: one wrong answer among many right ones is found.
func TestNotLinearizable(t *testing.T) {
	s := openTest(t, Options{}, fullHash)
	history := s.watch(t, 100, 1)
	require.NoError(t, linear.Check(history, time.Minute))
	corrupt(history[len(history)/2:])
	require.ErrorContains(t, linear.Check(history, time.Minute), "no order")
}

// watch runs six clients side by side and returns what they were answered. Each loses one answer, near the end: what is
// under way for long makes the search for an order long.
func (o opened) watch(t *testing.T, requests int, seed uint64) []porcupine.Operation {
	clients := 0
	return linear.Run(linear.Options{Clients: 6, Requests: requests, Batch: 1, Meet: 50, Seed: seed, Counters: true}, func() linear.Client {
		clients++
		c := &linearClient{Session: o.Store.Session(), forget: requests - 10*clients}
		t.Cleanup(c.Close)
		return c
	})
}

// crowd sets and deletes other keys, so that segments split under the keys that are watched.
func (o opened) crowd(stop chan struct{}) {
	c := o.Store.Session()
	defer c.Close()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		key := fmt.Appendf(nil, "crowd%d", i%20_000)
		if o.hashMask == 0 {
			key = fmt.Appendf(nil, "crowd%d", i%20)
		}
		c.Set(key, nil, SetOptions{})
		runtime.Gosched()
	}
}

// linearClient sends the requests of the checker to a session.
type linearClient struct {
	*Session
	requests int
	forget   int // every so many requests, the answer gets lost
}

func (c *linearClient) Do(batch []linear.Request) (responses []linear.Response) {
	for _, q := range batch {
		r, err := doLinear(c.Session, q)
		if err != nil {
			panic(err)
		}
		if c.requests++; c.requests%c.forget == 0 {
			r = linear.Response{Unknown: true}
		}
		responses = append(responses, r)
	}
	return responses
}

// doLinear sends a request of the checker to a session.
func doLinear(c *Session, q linear.Request) (r linear.Response, err error) {
	var keys [][]byte
	var conds []Condition
	for _, s := range q.Steps {
		keys = append(keys, linear.Key(s.Key))
	}
	for _, k := range q.Conditions {
		conds = append(conds, Condition{Key: linear.Key(k.Key), Version: k.Version})
	}
	r.Results = make([]linear.Result, len(q.Steps))
	switch q.Kind {
	case linear.Get:
		r.Results[0] = resultOf(c.Get(keys[0]))
	case linear.MGet:
		for i, e := range c.MGet(nil, keys) {
			r.Results[i] = resultOf(e)
		}
	case linear.Set:
		var o SetOptions
		if len(conds) > 0 {
			o = SetOptions{Conditional: true, IfVersion: conds[0].Version}
		}
		r.Version, err = c.Set(keys[0], []byte(q.Steps[0].Value), o)
	case linear.MSet:
		var pairs []Pair
		for i, s := range q.Steps {
			pairs = append(pairs, Pair{keys[i], []byte(s.Value)})
		}
		r.Version, err = c.MSet(pairs)
	case linear.Incr:
		r.Version, err = c.Update(keys, func(u *Update) error {
			e, text := u.Get(keys[0]), []byte("0")
			if len(conds) > 0 && versionOf(e) != conds[0].Version {
				return &ConflictError{Version: versionOf(e)}
			}
			if e.Exists() {
				text = e.Value()
			}
			n, err := Sum(text, q.Steps[0].By)
			if err == nil {
				r.Results[0].Value = strconv.FormatInt(n, 10)
				u.Set(keys[0], []byte(r.Results[0].Value), 0)
			}
			return err
		})
		if errors.Is(err, ErrNotANumber) {
			return linear.Response{Refused: true}, nil
		}
	case linear.Del:
		r.Existed, r.Version, err = c.Del(keys)
	case linear.Txn:
		kinds := map[linear.Kind]OpKind{linear.Get: OpGet, linear.Set: OpSet, linear.Del: OpDel}
		var ops []Op
		for i, s := range q.Steps {
			ops = append(ops, Op{Kind: kinds[s.Kind], Key: keys[i], Value: []byte(s.Value)})
		}
		var results []Result
		results, r.Version, err = c.Txn(nil, conds, ops)
		for i, x := range results {
			r.Results[i] = resultOf(x.Entry)
			r.Results[i].Existed = x.Existed
		}
	}
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		return linear.Response{Conflict: true, Index: conflict.Index, Version: conflict.Version}, nil
	}
	return r, err
}

func resultOf(e *Entry) linear.Result {
	if e == nil {
		return linear.Result{}
	}
	return linear.Result{Found: true, Value: string(e.Value()), Version: e.Version()}
}

// corrupt changes one answer of a history: a snapshot found another version of a key.
func corrupt(history []porcupine.Operation) {
	for i := range history {
		r := history[i].Output.(linear.Response)
		if history[i].Input.(linear.Request).Kind == linear.MGet && r.Results[0].Found {
			r.Results[0].Version--
			history[i].Output = r
			return
		}
	}
	panic("no snapshot found anything")
}
