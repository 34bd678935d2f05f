package linear_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"kv/store/linear"
)

// oneLock is a store that is obviously right, until it is told to misbehave.
type oneLock struct {
	mu      sync.Mutex
	cells   map[int]linear.Result
	version uint64
	wrong   func(*linear.Response)
}

func (o *oneLock) Do(batch []linear.Request) (responses []linear.Response) {
	for _, q := range batch {
		r := o.do(q)
		if o.wrong != nil {
			o.wrong(&r)
		}
		responses = append(responses, r)
	}
	return responses
}

func (o *oneLock) do(q linear.Request) (r linear.Response) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, c := range q.Conditions {
		if now := o.cells[c.Key].Version; now != c.Version {
			return linear.Response{Conflict: true, Index: i, Version: now}
		}
	}
	o.version++
	for _, s := range q.Steps {
		old := o.cells[s.Key]
		result := linear.Result{}
		switch s.Kind {
		case linear.Incr:
			n, err := strconv.Atoi(old.Value)
			if err != nil && old.Found {
				return linear.Response{Refused: true}
			}
			result.Value = strconv.Itoa(n + int(s.By))
			o.cells[s.Key] = linear.Result{Found: true, Value: result.Value, Version: o.version}
			r.Version = o.version
		case linear.Get:
			result = old
		case linear.Set:
			o.cells[s.Key] = linear.Result{Found: true, Value: s.Value, Version: o.version}
			r.Version = o.version
		case linear.Del:
			result.Existed = old.Found
			if old.Found {
				r.Existed++
				r.Version = o.version
			}
			delete(o.cells, s.Key)
		}
		r.Results = append(r.Results, result)
	}
	return r
}

var options = linear.Options{Clients: 4, Requests: 300, Batch: 3, Seed: 1, Counters: true}

// alone has one request at a time, so that of every answer only one can be right.
var alone = linear.Options{Clients: 1, Requests: 1000, Batch: 1, Seed: 1, Counters: true}

func run(options linear.Options, wrong func(*linear.Response)) []porcupine.Operation {
	o := &oneLock{cells: make(map[int]linear.Result), wrong: wrong}
	return linear.Run(options, func() linear.Client { return o })
}

func TestRightIsAccepted(t *testing.T) {
	require.NoError(t, linear.Check(run(options, nil), time.Minute))
}

// TestWrongIsFound: one wrong answer is enough, whatever it is about.
func TestWrongIsFound(t *testing.T) {
	for name, wrong := range map[string]func(*linear.Response) bool{
		"another value": func(r *linear.Response) bool {
			return len(r.Results) == 1 && r.Results[0].Found && set(&r.Results[0].Value, "1.999999")
		},
		"not found": func(r *linear.Response) bool {
			return len(r.Results) == 1 && r.Results[0].Found && set(&r.Results[0].Found, false)
		},
		"another version read": func(r *linear.Response) bool {
			return len(r.Results) == 3 && r.Results[1].Found && set(&r.Results[1].Version, r.Results[1].Version+1<<40)
		},
		"an old version written": func(r *linear.Response) bool {
			return !r.Conflict && r.Version > 100 && set(&r.Version, 1)
		},
		"an increment that is lost": func(r *linear.Response) bool {
			return len(r.Results) == 1 && !r.Results[0].Found && r.Results[0].Value != "" &&
				r.Results[0].Value != "0" && set(&r.Results[0].Value, "0")
		},
		"an increment that is refused": func(r *linear.Response) bool {
			return len(r.Results) == 1 && !r.Results[0].Found && r.Results[0].Value != "" &&
				set(r, linear.Response{Refused: true})
		},
		"a refusal that is none": func(r *linear.Response) bool {
			return r.Refused && set(r, linear.Response{Version: 1 << 40, Results: []linear.Result{{Value: "1"}}})
		},
		"a conflict with another version": func(r *linear.Response) bool {
			return r.Conflict && set(&r.Version, r.Version+1)
		},
		"nothing existed": func(r *linear.Response) bool {
			for i := range r.Results {
				if r.Results[i].Existed {
					return set(&r.Existed, 0) && set(&r.Results[i].Existed, false)
				}
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			answered, done := 0, false
			o := options
			if name == "not found" || name == "nothing existed" {
				o = alone // of requests side by side, one that deletes could make these right
			}
			history := run(o, func(r *linear.Response) {
				mu.Lock()
				defer mu.Unlock()
				if answered++; answered > 200 && !done {
					done = wrong(r)
				}
			})
			require.True(t, done)
			require.Error(t, linear.Check(history, time.Minute))
		})
	}
}

func set[T any](p *T, v T) bool {
	*p = v
	return true
}

// TestUnknown: requests without an answer may have been applied or not.
func TestUnknown(t *testing.T) {
	var mu sync.Mutex
	answered := 0
	history := run(options, func(r *linear.Response) {
		mu.Lock()
		defer mu.Unlock()
		if answered++; answered%200 == 0 {
			*r = linear.Response{Unknown: true}
		}
	})
	require.NoError(t, linear.Check(history, time.Minute))
}

// lossy is a store behind a network that loses one request of forty, or its answer, or brings it late, and that may
// tell no versions.
type lossy struct {
	store  linear.Client
	rng    *rand.Rand
	untold bool
	later  *sync.WaitGroup
}

func (l *lossy) Do(batch []linear.Request) []linear.Response {
	time.Sleep(time.Duration(l.rng.IntN(50)) * time.Microsecond)
	if l.rng.IntN(40) != 0 {
		responses := l.store.Do(batch)
		time.Sleep(time.Duration(l.rng.IntN(50)) * time.Microsecond)
		for i := range responses {
			if r := &responses[i]; l.untold && !r.Conflict {
				if r.Version != 0 {
					r.Version = linear.Untold
				}
				for j := range r.Results {
					r.Results[j].Version = 0
				}
			}
		}
		return responses
	}
	delay := time.Duration(l.rng.IntN(10)) * time.Millisecond
	switch l.rng.IntN(3) {
	case 0:
		l.store.Do(batch)
	case 1:
		l.later.Go(func() {
			time.Sleep(delay)
			l.store.Do(batch)
		})
	}
	return slices.Repeat([]linear.Response{{Unknown: true}}, len(batch))
}

// manyUnknown is a history in which one request of forty had no answer, over a right store.
func manyUnknown(seed uint64) []porcupine.Operation {
	var later sync.WaitGroup
	defer later.Wait()
	o := &oneLock{cells: make(map[int]linear.Result)}
	clients := uint64(0)
	return linear.Run(linear.Options{Clients: 5, Requests: 200, Batch: 1, Seed: seed, Counters: true}, func() linear.Client {
		clients++
		return &lossy{o, rand.New(rand.NewPCG(seed, clients)), clients%2 == 0, &later}
	})
}

// TestManyUnknown: such a history is decided, and soon.
func TestManyUnknown(t *testing.T) {
	for seed := range uint64(5) {
		require.NoError(t, linear.Check(manyUnknown(seed), time.Minute), seed)
	}
}

// TestWrongAmongUnknown: what had no answer excuses nothing that it can't have done. A read is made to tell what was
// overwritten, which was answered, before it was called.
func TestWrongAmongUnknown(t *testing.T) {
	sets := func(op porcupine.Operation, key int) bool {
		q, r := op.Input.(linear.Request), op.Output.(linear.Response)
		return q.Kind == linear.Set && q.Steps[0].Key == key && !r.Unknown && !r.Conflict
	}
	tried := 0
	history := manyUnknown(1)
	for i, read := range history {
		q, r := read.Input.(linear.Request), read.Output.(linear.Response)
		if q.Kind != linear.Get || r.Unknown || !r.Results[0].Found || i%10 != 0 {
			continue
		}
		at := slices.IndexFunc(history, func(first porcupine.Operation) bool {
			return sets(first, q.Steps[0].Key) && slices.ContainsFunc(history, func(second porcupine.Operation) bool {
				return sets(second, q.Steps[0].Key) && first.Return < second.Call && second.Return < read.Call
			})
		})
		if at < 0 {
			continue
		}
		wrong := slices.Clone(history)
		wrong[i].Output = linear.Response{Results: []linear.Result{{Found: true,
			Value: history[at].Input.(linear.Request).Steps[0].Value}}}
		require.Error(t, linear.Check(wrong, 50*time.Millisecond), "%+v", read)
		tried++
	}
	require.NotZero(t, tried)
}

// TestUnknownIsAlone: the requests that were sent together with one that had no answer have returned with theirs, so none of
// them can have seen what came later.
func TestUnknownIsAlone(t *testing.T) {
	o := &oneLock{cells: make(map[int]linear.Result)}
	history := linear.Run(linear.Options{Clients: 1, Requests: 60, Batch: 3, Seed: 1},
		func() linear.Client { return &forgetful{o, 3} })
	require.NoError(t, linear.Check(history, time.Minute))

	tried := 0
	for i := 1; i < len(history); i++ {
		get := history[i].Input.(linear.Request)
		together := history[i-1].Call == history[i].Call && history[i-1].Output.(linear.Response).Unknown
		if !together || get.Kind != linear.Get {
			continue
		}
		for _, later := range history[i+1:] {
			set := later.Input.(linear.Request)
			r := later.Output.(linear.Response)
			if set.Kind != linear.Set || set.Steps[0].Key != get.Steps[0].Key || r.Conflict || r.Unknown ||
				later.Call == history[i].Call {
				continue
			}
			wrong := slices.Clone(history)
			wrong[i].Output = linear.Response{Results: []linear.Result{{Found: true, Value: set.Steps[0].Value,
				Version: r.Version}}}
			require.Error(t, linear.Check(wrong, time.Minute))
			tried++
		}
	}
	require.NotZero(t, tried)
}

// forgetful forgets the first answer of some batches.
type forgetful struct {
	linear.Client
	batches int // how many
}

func (f *forgetful) Do(batch []linear.Request) []linear.Response {
	responses := f.Client.Do(batch)
	if len(batch) > 1 && batch[1].Kind == linear.Get && f.batches > 0 {
		f.batches--
		responses[0] = linear.Response{Unknown: true}
	}
	return responses
}

// TestUnknownVersion: of a key whose version nobody was told it is known at least that it has one, and which, once an answer
// has told it.
func TestUnknownVersion(t *testing.T) {
	const first, second = 100, 200 // versions
	set := func(value string, ifVersion ...uint64) linear.Request {
		q := linear.Request{Kind: linear.Set, Steps: []linear.Step{{Kind: linear.Set, Value: value}}}
		for _, v := range ifVersion {
			q.Conditions = append(q.Conditions, linear.Condition{Version: v})
		}
		return q
	}
	get := linear.Request{Kind: linear.Get, Steps: []linear.Step{{Kind: linear.Get}}}
	compare := func(v uint64) linear.Request {
		return linear.Request{Kind: linear.Txn, Conditions: []linear.Condition{{Version: v}}}
	}
	seen := func(version uint64) linear.Response {
		return linear.Response{Results: []linear.Result{{Found: true, Value: "a", Version: version}}}
	}
	written := func(v uint64) linear.Response { return linear.Response{Version: v, Results: make([]linear.Result, 1)} }
	conflict := func(v uint64) linear.Response { return linear.Response{Conflict: true, Version: v} }
	holds := linear.Response{}

	type step struct {
		q linear.Request
		r linear.Response
	}
	for _, tt := range []struct {
		name  string
		right bool
		steps []step // after a SET of "a" that had no answer, and a GET that found it
	}{
		{"a key that exists is not absent", false, []step{{set("b", 0), written(second)}}},
		{"the condition that it is absent conflicts", true, []step{{set("b", 0), conflict(first)}}},
		{"a conflict tells a version", false, []step{{set("b", 0), conflict(0)}}},
		{"it tells the version", false, []step{{set("b", 0), conflict(first)}, {get, seen(first + 1)}}},
		{"any version may hold", true, []step{{set("b", first), written(second)}}},
		{"any version may conflict", true, []step{{compare(first + 1), conflict(first)}, {get, seen(first)}}},
		{"no version conflicts with itself", false, []step{{compare(first), conflict(first)}}},
		{"only one holds", false, []step{{compare(first), holds}, {compare(first + 1), holds}}},
		{"that goes on holding", true, []step{{compare(first), holds}, {compare(first), holds}, {get, seen(first)}}},
		{"what was read holds", false, []step{{get, seen(first)}, {compare(first + 1), holds}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			history := []porcupine.Operation{{Input: set("a"), Call: 1, Output: linear.Response{Unknown: true}, Return: 1 << 60}}
			for i, s := range append([]step{{get, seen(0)}}, tt.steps...) {
				at := int64(10 * (i + 1))
				history = append(history, porcupine.Operation{ClientId: 1, Input: s.q, Call: at, Output: s.r, Return: at + 1})
			}
			err := linear.Check(history, time.Minute)
			require.Equal(t, tt.right, err == nil, "%v", err)
		})
	}
}

// TestExpiry: a key may be seen as gone from its time on, not before, and then it is gone for everybody. Who adds to it
// does not change when.
func TestExpiry(t *testing.T) {
	const ttl = 100 * time.Millisecond
	set := func(ttl time.Duration) linear.Request {
		return linear.Request{Kind: linear.Set, Steps: []linear.Step{{Kind: linear.Set, Value: "1", TTL: ttl}}}
	}
	get := linear.Request{Kind: linear.Get, Steps: []linear.Step{{Kind: linear.Get}}}
	del := linear.Request{Kind: linear.Del, Steps: []linear.Step{{Kind: linear.Del}}}
	incr := linear.Request{Kind: linear.Incr, Steps: []linear.Step{{Kind: linear.Incr, By: 1}}}
	absent := linear.Request{Kind: linear.Set, Conditions: []linear.Condition{{Version: 0}}, Steps: set(0).Steps}
	written := func(v uint64) linear.Response { return linear.Response{Version: v, Results: make([]linear.Result, 1)} }
	sum := func(v uint64, n string) linear.Response {
		return linear.Response{Version: v, Results: []linear.Result{{Value: n}}}
	}
	seen := linear.Response{Results: []linear.Result{{Found: true, Value: "1"}}}
	gone := linear.Response{Results: make([]linear.Result, 1)}
	type step struct {
		at time.Duration
		q  linear.Request
		r  linear.Response
	}
	for name, tt := range map[string]struct {
		right bool
		steps []step
	}{
		"it is there":                   {true, []step{{0, set(ttl), written(1)}, {50, get, seen}}},
		"it has gone":                   {true, []step{{0, set(ttl), written(1)}, {100, get, gone}}},
		"nobody has noticed yet":        {true, []step{{0, set(ttl), written(1)}, {900, get, seen}, {901, get, gone}}},
		"it went before its time":       {false, []step{{0, set(ttl), written(1)}, {99, get, gone}}},
		"it came back":                  {false, []step{{0, set(ttl), written(1)}, {100, get, gone}, {101, get, seen}}},
		"it never expires":              {false, []step{{0, set(0), written(1)}, {1000, get, gone}}},
		"it was set for good":           {false, []step{{0, set(ttl), written(1)}, {50, set(0), written(2)}, {1000, get, gone}}},
		"it was absent for a condition": {true, []step{{0, set(ttl), written(1)}, {100, absent, written(2)}, {101, get, seen}}},
		"not yet":                       {false, []step{{0, set(ttl), written(1)}, {99, absent, written(2)}}},
		"there was nothing to delete":   {true, []step{{0, set(ttl), written(1)}, {100, del, linear.Response{}}}},
		"there was":                     {true, []step{{0, set(ttl), written(1)}, {100, del, linear.Response{Existed: 1, Version: 2}}}},
		"adding to it":                  {true, []step{{0, set(ttl), written(1)}, {50, incr, sum(2, "2")}, {100, get, gone}}},
		"adding to what has gone":       {false, []step{{0, set(ttl), written(1)}, {100, incr, sum(2, "1")}, {1000, get, gone}}},
		"a write without an answer":     {true, []step{{0, set(ttl), linear.Response{Unknown: true}}, {1, get, seen}, {100, get, gone}}},
		"a version that is not told":    {true, []step{{0, set(ttl), written(linear.Untold)}, {1, get, seen}, {2, set(0), written(7)}, {3, get, seen}}},
	} {
		t.Run(name, func(t *testing.T) {
			var history []porcupine.Operation
			for i, s := range tt.steps {
				s.q.Sent, s.r.Received = s.at*time.Millisecond, s.at*time.Millisecond
				history = append(history, porcupine.Operation{Input: s.q, Call: int64(2 * i), Output: s.r,
					Return: int64(2*i + 1)})
			}
			err := linear.Check(history, time.Minute)
			require.Equal(t, tt.right, err == nil, "%v", err)
		})
	}
}
