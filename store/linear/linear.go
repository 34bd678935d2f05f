// Package linear checks that a store behaves as if every request took effect at one instant between its call and its
// return, all keys together: strict serializability. It is test support, for the store itself and for a server in front of
// it.
//
// Several clients send random requests over a few keys, [Run] records what each was answered and when, and [Check] has
// porcupine look for an order of the requests that explains all answers. Where there is none, the store is wrong.
//
// Every request is described as a transaction: conditions, then steps. A GET is one step, an MGET several, a
// conditional SET a condition and a step. So one model covers them all. A key that expires may have gone at any request
// from its time on: there the model has several states at once.
package linear

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
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
	Value string        // Set
	By    int64         // Incr
	TTL   time.Duration // Set: when the key expires; 0: never
}

// Request is one request. Conditions belong to a Txn, or are the one of a Set or an Incr.
type Request struct {
	Kind       Kind
	Conditions []Condition
	Steps      []Step
	Sent       time.Duration // by Run: since its beginning
}

// reads reports whether the request changes nothing.
func (q Request) reads() bool { return q.Kind == Get || q.Kind == MGet }

// Response is what a request was answered.
type Response struct {
	Unknown  bool   // there was no answer: it may have been applied, or may yet be
	Conflict bool   // the condition with this index did not hold, the key has this version; nothing was applied
	Index    int    //
	Refused  bool   // Incr: the key holds no number, or one that the sum would be out of 64 bits with; nothing was applied
	Version  uint64 // of what was written, 0 if nothing was, Untold if something was; or the conflict's
	Existed  int    // Del: how many of the keys existed
	Results  []Result
	Received time.Duration // by Run: since its beginning
	rank     int           // of what was written, by version; 0: any
}

// Untold is the version of a write whose answer does not tell it.
const Untold = ^uint64(0)

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
	// Meet is after how many requests of each all clients wait for each other, so that none is outstanding: [Check]
	// looks at what is between two such moments by itself, and so needs no more for a long history than for a short
	// one. 0: they never do.
	Meet     int
	Seed     uint64
	Counters bool // some values are numbers, and some requests Incr
	// TTL is about how long some keys live, if it is not 0. That a key has gone is right from when it has lived for so
	// long since it was asked for, whenever that is noticed.
	TTL time.Duration
	// Skewed says that the clocks which keys expire by differ, or jump: a key with a time to live may go at any time.
	Skewed bool
}

// never is the time at which a request returns that had no answer.
const never = 1<<62 - 1

// longAgo is when a request was sent of which it does not matter when.
const longAgo = -1 << 62

// Run runs o.Clients clients side by side, each made by dial, and returns what happened.
func Run(o Options, dial func() Client) (all []porcupine.Operation) {
	r := &recorder{Options: o, begin: time.Now()}
	clients := make([]*recorded, o.Clients)
	for id := range clients {
		clients[id] = &recorded{Client: dial(), generator: generator{
			rand: rand.New(rand.NewPCG(o.Seed, uint64(id))), client: id, counters: o.Counters, ttl: o.TTL,
		}}
	}
	for sent := 0; sent < o.Requests; {
		next := o.Requests - sent
		if o.Meet != 0 {
			next = min(next, o.Meet)
		}
		var done sync.WaitGroup
		for _, c := range clients {
			done.Go(func() { r.send(c, next) })
		}
		done.Wait()
		sent += next
	}
	for _, c := range clients {
		all = append(all, c.history...)
	}
	return all
}

// recorder notes when what is asked, and answered.
type recorder struct {
	Options
	begin time.Time
	clock atomic.Int64 // one tick an event, so no two are at the same time
}

// recorded is a client, what it asks, and what has come of that.
type recorded struct {
	Client
	generator
	history []porcupine.Operation
}

// send has a client send so many requests.
func (r *recorder) send(c *recorded, requests int) {
	for requests > 0 {
		batch := make([]Request, 1+c.rand.IntN(min(r.Batch, requests)))
		for i := range batch {
			batch[i] = c.request()
		}
		requests -= len(batch)
		for i := range batch {
			if batch[i].Sent = time.Since(r.begin); r.Skewed {
				batch[i].Sent = longAgo
			}
		}
		call := r.clock.Add(1)
		responses := c.Do(batch)
		end := r.clock.Add(1)
		for i, response := range responses {
			response.Received = time.Since(r.begin)
			c.learn(batch[i], response)
			op := porcupine.Operation{ClientId: c.client, Input: batch[i], Call: call, Output: response, Return: end}
			if response.Unknown {
				op.Return = never
			}
			c.history = append(c.history, op)
		}
	}
}

// ErrUndecided is the error of Check where its time was over before it had found an order, or that there is none.
var ErrUndecided = errors.New("no verdict in time")

// generator makes one client's requests.
type generator struct {
	rand     *rand.Rand
	client   int
	values   int
	counters bool
	ttl      time.Duration
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
		s := g.step(Set)
		if g.ttl != 0 && g.rand.IntN(2) == 0 {
			s.TTL = g.ttl/2 + time.Duration(g.rand.Int64N(int64(g.ttl))).Truncate(time.Millisecond)
		}
		return Request{Kind: Set, Steps: []Step{s}}
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
			s.Value = strconv.Itoa(apart * ((g.client+1)*1_000_000 + g.values))
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
				if r.Version != Untold {
					g.seen[s.Key] = r.Version
				}
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
