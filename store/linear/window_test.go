package linear_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"kv/store/linear"
)

// TestALongHistoryIsCut: a history of twelve thousand requests is cut where the clients have met, and decided; whole it
// would not be.
func TestALongHistoryIsCut(t *testing.T) {
	o := linear.Options{Clients: 6, Requests: 2000, Batch: 3, Meet: 50, Seed: 1, Counters: true}
	history := run(o, nil)
	require.Len(t, history, 6*2000)
	require.GreaterOrEqual(t, linear.Windows(history), 2000/50)
	require.NoError(t, linear.Check(history, time.Minute))
}

// TestWhereAHistoryIsCut: where nothing is outstanding, to the tick.
func TestWhereAHistoryIsCut(t *testing.T) {
	get := linear.Request{Kind: linear.Get, Steps: []linear.Step{{Kind: linear.Get}}}
	set := linear.Request{Kind: linear.Set, Steps: []linear.Step{{Kind: linear.Set}}}
	at := func(q linear.Request, call, back int64) porcupine.Operation {
		r := linear.Response{Version: uint64(call), Results: make([]linear.Result, 1)}
		if back == 0 {
			r, back = linear.Response{Unknown: true}, 1<<60
		}
		return porcupine.Operation{Input: q, Call: call, Output: r, Return: back}
	}
	for name, tt := range map[string]struct {
		windows int
		history []porcupine.Operation
	}{
		"one after the other":        {3, []porcupine.Operation{at(set, 1, 2), at(get, 3, 4), at(set, 5, 6)}},
		"in whatever order":          {3, []porcupine.Operation{at(set, 5, 6), at(get, 3, 4), at(set, 1, 2)}},
		"they touch":                 {1, []porcupine.Operation{at(set, 1, 3), at(set, 3, 4)}},
		"one is under way for long":  {2, []porcupine.Operation{at(set, 1, 9), at(set, 2, 3), at(get, 4, 5), at(get, 10, 11)}},
		"a read that had no answer":  {3, []porcupine.Operation{at(get, 1, 0), at(set, 2, 3), at(get, 4, 5)}},
		"a write that had no answer": {2, []porcupine.Operation{at(set, 1, 2), at(set, 3, 0), at(get, 4, 5), at(get, 6, 7)}},
	} {
		require.Equal(t, tt.windows, linear.Windows(tt.history), name)
	}
}

// TestWhatAWindowLeavesBehind: all states that a window can end in are what the next one begins in, and no other.
// Requests of one line are sent side by side, and nothing is outstanding between two lines.
func TestWhatAWindowLeavesBehind(t *testing.T) {
	type asked struct {
		q linear.Request
		r linear.Response
	}
	set := func(key int, value string) asked {
		return asked{linear.Request{Kind: linear.Set, Steps: []linear.Step{{Kind: linear.Set, Key: key, Value: value}}},
			linear.Response{Version: linear.Untold, Results: make([]linear.Result, 1)}}
	}
	told := func(a asked, version uint64) asked {
		a.r.Version = version
		return a
	}
	del := func(key int, existed int) asked {
		r := linear.Response{Existed: existed}
		if existed > 0 {
			r.Version = linear.Untold
		}
		return asked{linear.Request{Kind: linear.Del, Steps: []linear.Step{{Kind: linear.Del, Key: key}}}, r}
	}
	get := func(key int, value string) asked {
		return asked{linear.Request{Kind: linear.Get, Steps: []linear.Step{{Kind: linear.Get, Key: key}}},
			linear.Response{Results: []linear.Result{{Found: value != "", Value: value}}}}
	}
	add := func(sum int) asked {
		return asked{linear.Request{Kind: linear.Incr, Steps: []linear.Step{{Kind: linear.Incr, By: 1}}},
			linear.Response{Version: linear.Untold, Results: []linear.Result{{Value: strconv.Itoa(sum)}}}}
	}
	both := func(first, second asked) asked { // in one transaction
		one := asked{linear.Request{Kind: linear.Txn}, linear.Response{Version: linear.Untold}}
		for _, a := range []asked{first, second} {
			one.q.Steps = append(one.q.Steps, a.q.Steps...)
			one.r.Results = append(one.r.Results, linear.Result{Existed: a.r.Existed > 0})
		}
		return one
	}
	conflict := func(key int, version uint64) asked { // it is not absent
		one := set(key, "never")
		one.q.Conditions = []linear.Condition{{Key: key}}
		return asked{one.q, linear.Response{Conflict: true, Version: version}}
	}
	oneOf := asked{linear.Request{Kind: linear.Del, Steps: append(del(0, 1).q.Steps, del(1, 1).q.Steps...)},
		linear.Response{Existed: 1, Version: 5}}
	type lines = [][]asked
	for name, tt := range map[string]struct {
		right bool
		lines lines
	}{
		"one of two":                                    {true, lines{{set(0, "a"), set(0, "b")}, {get(0, "a")}}},
		"the other":                                     {true, lines{{set(0, "a"), set(0, "b")}, {get(0, "b")}}},
		"first one, then the other":                     {false, lines{{set(0, "a"), set(0, "b")}, {get(0, "a")}, {get(0, "b")}}},
		"the same, in one window":                       {false, lines{{set(0, "a"), set(0, "b")}, {get(0, "a"), get(0, "b")}}},
		"neither":                                       {false, lines{{set(0, "a"), set(0, "b")}, {get(0, "")}}},
		"it stays what it was seen to be":               {false, lines{{set(0, "a"), set(0, "b"), set(1, "c")}, {get(0, "b")}, {get(1, "c")}, {get(0, "a")}}},
		"two keys, as two orders have them":             {true, lines{{set(0, "a"), set(0, "b"), set(1, "c"), set(1, "d")}, {get(0, "a")}, {get(1, "d")}, {get(0, "a")}}},
		"what was overwritten windows ago":              {false, lines{{set(0, "a")}, {set(0, "b")}, {set(1, "c")}, {get(0, "a")}}},
		"the same, told":                                {false, lines{{told(set(0, "a"), 1)}, {told(set(0, "b"), 2)}, {told(set(1, "c"), 3)}, {get(0, "a")}}},
		"the higher version comes last":                 {false, lines{{told(set(0, "a"), 1), told(set(0, "b"), 2)}, {get(0, "a")}}},
		"and is there":                                  {true, lines{{told(set(0, "a"), 1), told(set(0, "b"), 2)}, {get(0, "b")}}},
		"a version that was given before":               {false, lines{{told(set(0, "a"), 2)}, {told(set(0, "b"), 1)}}},
		"what was deleted":                              {false, lines{{set(0, "a")}, {del(0, 1)}, {get(0, "a")}}},
		"a deletion beside a write":                     {true, lines{{set(0, "a")}, {del(0, 1), set(0, "b")}, {get(0, "b")}}},
		"the same, the other way":                       {true, lines{{set(0, "a")}, {del(0, 1), set(0, "b")}, {get(0, "")}}},
		"one deletion for two":                          {false, lines{{set(0, "a")}, {del(0, 1)}, {del(0, 1)}}},
		"what is set to what it is has another version": {true, lines{{set(0, "a"), set(0, "a"), conflict(0, 7)}, {conflict(0, 9)}}},
		"and no third one":                              {false, lines{{set(0, "a"), set(0, "a"), conflict(0, 7)}, {conflict(0, 9)}, {conflict(0, 8)}}},
		"which of two was deleted":                      {true, lines{{told(set(0, "a"), 4), told(set(1, "b"), 3), oneOf}, {get(0, "a")}}},
		"the same, the other":                           {true, lines{{told(set(0, "a"), 4), told(set(1, "b"), 3), oneOf}, {get(1, "b")}}},
		"the same, neither":                             {false, lines{{told(set(0, "a"), 4), told(set(1, "b"), 3), oneOf}, {get(1, "b")}, {get(0, "a")}}},
		"a version that two have":                       {true, lines{{told(set(0, "a"), 1), told(set(0, "b"), 1)}, {get(0, "a")}}},
		"an order that one beginning allows, and one that all do": {true, lines{
			{set(0, "z")},
			{both(set(0, "p"), set(1, "a")), both(del(0, 1), set(1, "b"))},
			{get(0, ""), told(set(0, "c"), 1), told(del(0, 1), 2)}, {get(1, "a")},
		}},
		"sums":                      {true, lines{{add(1), add(2)}, {add(4), add(3)}, {get(0, "4")}}},
		"a sum that is lost":        {false, lines{{add(1), add(2)}, {add(2)}}},
		"a sum that comes too soon": {false, lines{{add(1)}, {add(3)}, {add(2)}}},
	} {
		t.Run(name, func(t *testing.T) {
			var history []porcupine.Operation
			for i, line := range tt.lines {
				for id, a := range line {
					history = append(history, porcupine.Operation{ClientId: id, Input: a.q, Call: int64(10 * i),
						Output: a.r, Return: int64(10*i + 5)})
				}
			}
			require.Equal(t, len(tt.lines), linear.Windows(history))
			err := linear.Check(history, time.Minute)
			require.Equal(t, tt.right, err == nil, "%v", err)

			// The same in one window: a read of another key is under way all the while.
			long := get(linear.Keys-1, "")
			history = append(history, porcupine.Operation{ClientId: 9, Input: long.q, Call: 0, Output: long.r, Return: 1000})
			require.Equal(t, 1, linear.Windows(history))
			err = linear.Check(history, time.Minute)
			require.Equal(t, tt.right, err == nil, "%v", err)
		})
	}
}

// TestCutsDecideNothing: a history is found right, or wrong, by its windows as it is whole, whether one answer was made
// another one's of that key or not.
func TestCutsDecideNothing(t *testing.T) {
	right, wrong, across := 0, 0, 0
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 1))
		history := run(linear.Options{Clients: 3, Requests: 12, Batch: 3, Meet: 4, Seed: seed, Counters: true}, func(r *linear.Response) {
			time.Sleep(time.Duration(seed%7) * 10 * time.Microsecond) // requests meet
			if seed%2 == 0 {                                          // as by RESP
				if r.Version != 0 && !r.Conflict {
					r.Version = linear.Untold
				}
				for i := range r.Results {
					r.Results[i].Version = 0
				}
			}
		})
		slices.SortStableFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		from, to := rng.IntN(len(history)), rng.IntN(len(history))
		for range 100 {
			a, b := history[from].Input.(linear.Request), history[to].Input.(linear.Request)
			if from != to && a.Kind == b.Kind && len(a.Steps) == 1 && len(b.Steps) == 1 &&
				a.Steps[0].Key == b.Steps[0].Key && len(a.Conditions) == len(b.Conditions) {
				history[to].Output = history[from].Output
				break
			}
			from, to = rng.IntN(len(history)), rng.IntN(len(history))
		}
		require.Greater(t, linear.Windows(history), 2)
		whole, err := linear.Whole(history, time.Minute), linear.Check(history, time.Minute)
		require.Equal(t, whole == nil, err == nil, "seed %d: whole: %v; by windows: %v", seed, whole, err)
		require.NotErrorIs(t, err, linear.ErrUndecided)
		switch {
		case err == nil:
			right++
		case (from < to) && history[from].Return < history[to].Call:
			across++
			fallthrough
		default:
			wrong++
		}
	}
	t.Logf("%d right, %d wrong, of which %d answered what had been answered windows ago", right, wrong, across)
	require.NotZero(t, right)
	require.NotZero(t, across)
}

// TestAFaultAcrossACut: a read that finds what was overwritten before the clients met last is found, whether versions
// are told or not.
func TestAFaultAcrossACut(t *testing.T) {
	history := run(linear.Options{Clients: 4, Requests: 200, Batch: 2, Meet: 20, Seed: 3, Counters: true}, nil)
	require.NoError(t, linear.Check(history, time.Minute))
	slices.SortStableFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	tried := 0
	for i, read := range history {
		q, r := read.Input.(linear.Request), read.Output.(linear.Response)
		if q.Kind != linear.Get || !r.Results[0].Found || i < len(history)/4 {
			continue
		}
		key := q.Steps[0].Key
		sets := func(op porcupine.Operation) bool {
			q, r := op.Input.(linear.Request), op.Output.(linear.Response)
			return q.Kind == linear.Set && q.Steps[0].Key == key && !r.Conflict
		}
		// The last write that was over when the last one before the read began.
		last := -1
		for j := range i {
			if sets(history[j]) && history[j].Return < read.Call {
				last = j
			}
		}
		for j := last - 1; j >= 0; j-- {
			if !sets(history[j]) || history[j].Return >= history[last].Call {
				continue
			}
			old := linear.Result{Found: true, Value: history[j].Input.(linear.Request).Steps[0].Value,
				Version: history[j].Output.(linear.Response).Version}
			for _, version := range []uint64{0, old.Version} {
				old.Version = version
				wrong := slices.Clone(history)
				wrong[i].Output = linear.Response{Results: []linear.Result{old}}
				require.ErrorContains(t, linear.Check(wrong, time.Minute), "no order")
			}
			tried++
			break
		}
	}
	require.NotZero(t, tried)
	t.Logf("%d reads", tried)
}
