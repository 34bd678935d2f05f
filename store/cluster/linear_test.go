package cluster

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/store"
	"kv/store/linear"
)

// storeClient sends writes to whoever leads, and reads to any.
type storeClient struct {
	all      []*storeNode
	sessions []*store.Session
	rng      *rand.Rand
}

func (c *storeClient) Do(batch []linear.Request) []linear.Response {
	unknown := make([]linear.Response, len(batch))
	for i := range unknown {
		unknown[i].Unknown = true
	}
	writes := false
	for _, q := range batch {
		writes = writes || q.Kind != linear.Get && q.Kind != linear.MGet
	}
	for {
		at := c.rng.IntN(len(c.all))
		if writes && !c.all[at].node.Status().Leads {
			time.Sleep(time.Millisecond) // the pace of a client that looks for a leader
			continue
		}
		s := c.sessions[at]
		var all []linear.Response
		moved := false
		for _, q := range batch {
			if q.Kind == linear.Get || q.Kind == linear.MGet {
				if s.Begin(store.ReadMode{}) != nil {
					return unknown
				}
			}
			r, err := doRequest(s, q)
			if moved = errors.As(err, new(*store.MovedError)); moved {
				break
			}
			all = append(all, r)
		}
		switch err := s.Flush(); {
		case moved && len(all) == 0:
			continue // nothing was applied
		case moved || err != nil:
			return unknown
		}
		return all
	}
}

func doRequest(c *store.Session, q linear.Request) (r linear.Response, err error) {
	var keys [][]byte
	var conds []store.Condition
	for _, s := range q.Steps {
		keys = append(keys, linear.Key(s.Key))
	}
	for _, k := range q.Conditions {
		conds = append(conds, store.Condition{Key: linear.Key(k.Key), Version: k.Version})
	}
	result := func(e *store.Entry) linear.Result {
		if e == nil {
			return linear.Result{}
		}
		return linear.Result{Found: true, Value: string(e.Value()), Version: e.Version()}
	}
	r.Results = make([]linear.Result, len(q.Steps))
	switch q.Kind {
	case linear.Get:
		r.Results[0] = result(c.Get(keys[0]))
	case linear.MGet:
		for i, e := range c.MGet(nil, keys) {
			r.Results[i] = result(e)
		}
	case linear.Set:
		var o store.SetOptions
		if len(conds) > 0 {
			o = store.SetOptions{Conditional: true, IfVersion: conds[0].Version}
		}
		r.Version, err = c.Set(keys[0], []byte(q.Steps[0].Value), o)
	case linear.MSet:
		var pairs []store.Pair
		for i, s := range q.Steps {
			pairs = append(pairs, store.Pair{Key: keys[i], Value: []byte(s.Value)})
		}
		r.Version, err = c.MSet(pairs)
	case linear.Del:
		r.Existed, r.Version, err = c.Del(keys)
	case linear.Txn:
		kinds := map[linear.Kind]store.OpKind{linear.Get: store.OpGet, linear.Set: store.OpSet, linear.Del: store.OpDel}
		var ops []store.Op
		for i, s := range q.Steps {
			ops = append(ops, store.Op{Kind: kinds[s.Kind], Key: keys[i], Value: []byte(s.Value)})
		}
		var results []store.Result
		results, r.Version, err = c.Txn(nil, conds, ops)
		for i, x := range results {
			r.Results[i] = result(x.Entry)
			r.Results[i].Existed = x.Existed
		}
	}
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return linear.Response{Conflict: true, Index: conflict.Index, Version: conflict.Version}, nil
	}
	return r, err
}

// What clients are answered by three stores, while leadership is handed over and nodes are cut off, is explained by one order.
func TestStoresAreLinearizable(t *testing.T) {
	for seed := range uint64(2) {
		all := openStores(t, 3, store.Options{})
		storeLeader(t, all)
		stop := make(chan struct{})
		var nemesis sync.WaitGroup
		nemesis.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 3))
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(50+rng.IntN(100)) * time.Millisecond):
				}
				s := all[rng.IntN(len(all))]
				if i%8 == 7 {
					all[0].net.isolate(s.node.Status().ID, 1500*time.Millisecond, stop)
				} else if s.node.Status().Leads {
					s.node.Call(func(c *Core) { c.Transfer(0) })
				}
			}
		})
		clients := 0
		history := linear.Run(linear.Options{Clients: 4, Requests: 400, Batch: 2, Seed: seed}, func() linear.Client {
			clients++
			c := &storeClient{all: all, rng: rand.New(rand.NewPCG(seed, uint64(clients)))}
			for _, s := range all {
				session := s.store.Session()
				t.Cleanup(session.Close)
				c.sessions = append(c.sessions, session)
			}
			return c
		})
		close(stop)
		nemesis.Wait()
		require.NoError(t, linear.Check(history, 2*time.Minute))
		for _, s := range all {
			s.stop()
		}
	}
}
