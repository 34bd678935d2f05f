package linear_test

import (
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

var options = linear.Options{Clients: 4, Requests: 300, Batch: 3, Seed: 1}

func run(wrong func(*linear.Response)) []porcupine.Operation {
	o := &oneLock{cells: make(map[int]linear.Result), wrong: wrong}
	return linear.Run(options, func() linear.Client { return o })
}

func TestRightIsAccepted(t *testing.T) {
	require.NoError(t, linear.Check(run(nil), time.Minute))
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
		"a conflict with another version": func(r *linear.Response) bool {
			return r.Conflict && set(&r.Version, r.Version+1)
		},
		"nothing existed": func(r *linear.Response) bool {
			return r.Existed > 0 && r.Version > 0 && set(&r.Existed, 7) && set(&r.Results[0].Existed, !r.Results[0].Existed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			answered, done := 0, false
			history := run(func(r *linear.Response) {
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
	history := run(func(r *linear.Response) {
		mu.Lock()
		defer mu.Unlock()
		if answered++; answered%200 == 0 {
			*r = linear.Response{Unknown: true}
		}
	})
	require.NoError(t, linear.Check(history, time.Minute))
}
