// Package linear checks that a store behaves as if every request took effect at one instant between its call and its
// return, all keys together: strict serializability. It is test support, for the store itself and for a server in front of
// it.
//
// Several clients send random requests over a few keys, [Run] records what each was answered and when, and [Check] has
// porcupine look for an order of the requests that explains all answers. Where there is none, the store is wrong.
//
// Every request is described as a transaction: conditions, then steps. A GET is one step, an MGET several, a conditional
// SET a condition and a step. So one model covers them all.
package linear

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"
)

// Keys is how many keys the requests are about: few, so that they meet.
const Keys = 4

// Key returns the name of key k.
func Key(k int) []byte { return fmt.Appendf(nil, "key-%d", k) }

// Kind says as which request a Request is to be sent.
type Kind uint8

// The kinds of request.
const (
	Get Kind = iota
	Set
	Del
	MGet
	MSet
	Txn
	Incr
)

// Condition holds while key has this version; 0: while it is absent.
type Condition struct {
	Key     int
	Version uint64
}

// Step is what a request does to one key.
type Step struct {
	Kind  Kind // Get, Set, Del or Incr
	Key   int
	Value string // Set
	By    int64  // Incr
}

// Request is one request. Conditions belong to a Txn, or are the one of a Set or an Incr.
type Request struct {
	Kind       Kind
	Conditions []Condition
	Steps      []Step
}

// Response is what a request was answered.
type Response struct {
	Unknown  bool   // there was no answer: it may have been applied, or may yet be
	Conflict bool   // the condition with this index did not hold, the key has this version; nothing was applied
	Index    int    //
	Refused  bool   // Incr: the key holds no number, or one that the sum would be out of 64 bits with; nothing was applied
	Version  uint64 // of what was written, 0 if nothing was; or the conflict's
	Existed  int    // Del: how many of the keys existed
	Results  []Result
}

// Result is the answer to one step.
type Result struct {
	Found   bool   // Get
	Value   string // Get; Incr: the sum
	Version uint64 // 0: it was not told
	Existed bool   // Del, in a Txn
}

// Client sends requests, one batch at a time, and returns their responses. The requests of one batch may be sent together.
type Client interface {
	Do(batch []Request) []Response
}

// Options say how much is run.
type Options struct {
	Clients  int
	Requests int // of each client
	Batch    int // the most requests in a batch
	Seed     uint64
	Counters bool // some values are numbers, and some requests Incr
}

// never is the time at which a request returns that had no answer.
const never = 1<<62 - 1

// Run runs o.Clients clients side by side, each made by dial, and returns what happened.
func Run(o Options, dial func() Client) []porcupine.Operation {
	var clock atomic.Int64 // one tick an event, so no two are at the same time
	histories := make([][]porcupine.Operation, o.Clients)
	var done sync.WaitGroup
	for id := range histories {
		c := dial()
		g := &generator{rand: rand.New(rand.NewPCG(o.Seed, uint64(id))), client: id, counters: o.Counters}
		done.Go(func() {
			for sent := 0; sent < o.Requests; {
				batch := make([]Request, 1+g.rand.IntN(min(o.Batch, o.Requests-sent)))
				for i := range batch {
					batch[i] = g.request()
				}
				sent += len(batch)
				call := clock.Add(1)
				responses := c.Do(batch)
				end := clock.Add(1)
				for i, r := range responses {
					g.learn(batch[i], r)
					op := porcupine.Operation{ClientId: id, Input: batch[i], Call: call, Output: r, Return: end}
					if r.Unknown {
						op.Return = never
					}
					histories[id] = append(histories[id], op)
				}
			}
		})
	}
	done.Wait()
	var all []porcupine.Operation
	for _, h := range histories {
		all = append(all, h...)
	}
	return all
}

// Check returns nil if the history can be explained. It gives up after the timeout, which is an error too.
func Check(history []porcupine.Operation, timeout time.Duration) error {
	switch porcupine.CheckOperationsTimeout(model, history, timeout) {
	case porcupine.Ok:
		return nil
	case porcupine.Illegal:
		return fmt.Errorf("no order of the %d requests explains their answers", len(history))
	}
	return fmt.Errorf("no verdict about %d requests after %v", len(history), timeout)
}

// generator makes one client's requests.
type generator struct {
	rand     *rand.Rand
	client   int
	values   int
	counters bool
	seen     [Keys]uint64 // the last version of each key that the client was told of
}

func (g *generator) request() Request {
	if g.counters && g.rand.IntN(4) == 0 {
		s := Step{Kind: Incr, Key: g.rand.IntN(Keys), By: g.rand.Int64N(5) - 2}
		if g.rand.IntN(4) == 0 {
			return Request{Kind: Incr, Conditions: []Condition{g.condition(s.Key)}, Steps: []Step{s}}
		}
		return Request{Kind: Incr, Steps: []Step{s}}
	}
	switch g.rand.IntN(10) {
	case 0, 1, 2:
		return Request{Kind: Get, Steps: []Step{g.step(Get)}}
	case 3:
		return Request{Kind: Set, Steps: []Step{g.step(Set)}}
	case 4:
		s := g.step(Set)
		return Request{Kind: Set, Conditions: []Condition{g.condition(s.Key)}, Steps: []Step{s}}
	case 5:
		return Request{Kind: Del, Steps: g.steps(1+g.rand.IntN(2), Del)}
	case 6, 7:
		return Request{Kind: MGet, Steps: g.steps(1+g.rand.IntN(Keys), Get)}
	case 8:
		return Request{Kind: MSet, Steps: g.steps(1+g.rand.IntN(Keys), Set)}
	}
	r := Request{Kind: Txn, Steps: g.steps(1+g.rand.IntN(5), Get, Set, Del)}
	for range g.rand.IntN(3) {
		r.Conditions = append(r.Conditions, g.condition(g.rand.IntN(Keys)))
	}
	return r
}

func (g *generator) steps(n int, kinds ...Kind) []Step {
	steps := make([]Step, n)
	for i := range steps {
		steps[i] = g.step(kinds[g.rand.IntN(len(kinds))])
	}
	return steps
}

func (g *generator) step(k Kind) Step {
	s := Step{Kind: k, Key: g.rand.IntN(Keys)}
	if k == Set {
		g.values++
		s.Value = fmt.Sprintf("%d.%d", g.client, g.values)
		if g.counters && g.values%2 == 0 {
			s.Value = fmt.Sprintf("%d%06d", g.client+1, g.values)
		}
	}
	return s
}

// condition is one that may well hold.
func (g *generator) condition(key int) Condition { return Condition{key, g.seen[key]} }

func (g *generator) learn(q Request, r Response) {
	switch {
	case r.Unknown, r.Refused:
	case r.Conflict:
		g.seen[q.Conditions[r.Index].Key] = r.Version
	default:
		for i, s := range q.Steps {
			switch {
			case s.Kind == Set || s.Kind == Incr:
				g.seen[s.Key] = r.Version
			case s.Kind == Del:
				g.seen[s.Key] = 0
			case !r.Results[i].Found:
				g.seen[s.Key] = 0
			case r.Results[i].Version != 0:
				g.seen[s.Key] = r.Results[i].Version
			}
		}
	}
}
