// Package linearframes is test support: it puts what [linear.Run] wants asked into kv frames, and what was answered
// into what [linear.Check] wants told.
package linearframes

import (
	"context"
	"errors"
	"strconv"
	"time"

	"kv/protocol"
	"kv/protocol/client"
	"kv/store/linear"
)

// Do has c send q, by the method for such a request. A condition that does not hold, a key that is absent and what is
// no number are responses like any other; all else that is not OK is an error, which says whether q may have been
// applied: see [client.ErrUnknown].
//
// The names of the keys begin with prefix, and go on as [linear.Key] has them.
func Do(ctx context.Context, c *client.Client, prefix string, q linear.Request) (linear.Response, error) {
	f := fieldsOf(prefix, q)
	var a answer
	var err error
	switch q.Kind {
	case linear.Get:
		var v protocol.Value
		v, err = c.Get(ctx, f.keys[0])
		a.values = append(a.values, v)
	case linear.Set:
		a.version, err = c.Set(ctx, f.set)
	case linear.Incr:
		a.sum, a.version, err = c.Incr(ctx, f.incr)
	case linear.Del:
		a.existed, a.version, err = c.Del(ctx, f.keys...)
	case linear.MGet:
		a.values, err = c.MGet(ctx, f.keys...)
	case linear.MSet:
		a.version, err = c.MSet(ctx, f.pairs...)
	default:
		a.txn, err = c.Txn(ctx, f.txn)
	}
	return a.response(q, err)
}

// Append appends the frame of q, about the keys that [linear.Key] names.
func Append(dst []byte, id uint32, q linear.Request) []byte {
	f := fieldsOf("", q)
	switch q.Kind {
	case linear.Get:
		return protocol.Get{Key: f.keys[0], WithMeta: true}.AppendTo(dst, id)
	case linear.Set:
		return f.set.AppendTo(dst, id)
	case linear.Incr:
		return f.incr.AppendTo(dst, id)
	case linear.Del:
		return protocol.AppendKeys(dst, protocol.OpDel, 0, id, f.keys...)
	case linear.MGet:
		return protocol.AppendKeys(dst, protocol.OpMGet, protocol.FlagWithMeta, id, f.keys...)
	case linear.MSet:
		return protocol.AppendMSet(dst, id, f.pairs...)
	}
	return f.txn.AppendTo(dst, id)
}

// Parse is the other half of [Append]: it returns what the answer to q says, or the error that [Do] returns for such a one.
func Parse(q linear.Request, opcode protocol.Opcode, status protocol.Status, body []byte) (linear.Response, error) {
	var a answer
	err := protocol.ParseError(opcode, status, body)
	if err != nil {
		return a.response(q, err)
	}
	switch q.Kind {
	case linear.Get:
		var v protocol.Value
		v, err = protocol.ParseValue(true, body)
		a.values = append(a.values, v)
	case linear.Set, linear.MSet:
		a.version, err = protocol.ParseVersion(body)
	case linear.Incr:
		var incr protocol.IncrResponse
		incr, err = protocol.ParseIncrResponse(body)
		a.version, a.sum = incr.Version, incr.Value
	case linear.Del:
		var existed uint32
		existed, a.version, err = protocol.ParseDeleted(body)
		a.existed = int(existed)
	case linear.MGet:
		a.values, err = protocol.ParseValues(nil, true, body)
	default:
		a.txn, err = protocol.ParseTxnResponse(true, body)
	}
	return a.response(q, err)
}

// fields are what the frame of a request is made of; those of its kind matter.
type fields struct {
	keys  [][]byte
	pairs []protocol.Pair
	set   protocol.Set
	incr  protocol.Incr
	txn   protocol.Txn
}

func fieldsOf(prefix string, q linear.Request) (f fields) {
	name := func(k int) []byte { return append([]byte(prefix), linear.Key(k)...) }
	f.txn.WithMeta = true
	for _, s := range q.Steps {
		key, value := name(s.Key), []byte(s.Value)
		f.keys = append(f.keys, key)
		f.pairs = append(f.pairs, protocol.Pair{Key: key, Value: value})
		kind := map[linear.Kind]protocol.TxnKind{linear.Get: protocol.TxnGet, linear.Set: protocol.TxnSet, linear.Del: protocol.TxnDel}[s.Kind]
		f.txn.Ops = append(f.txn.Ops, protocol.TxnOp{Kind: kind, Key: key, Value: value})
	}
	f.set = protocol.Set{Key: f.keys[0], Value: f.pairs[0].Value, TTL: uint64(q.Steps[0].TTL / time.Millisecond)}
	f.incr = protocol.Incr{Key: f.keys[0], By: q.Steps[0].By}
	for _, c := range q.Conditions { // one, but for a transaction
		f.set.Conditional, f.set.IfVersion = true, c.Version
		f.incr.Conditional, f.incr.IfVersion = true, c.Version
		f.txn.Conditions = append(f.txn.Conditions, protocol.Condition{Version: c.Version, Key: name(c.Key)})
	}
	return f
}

// answer is what an OK one says; what its kind has matters.
type answer struct {
	version uint64
	existed int
	sum     int64
	values  []protocol.Value
	txn     protocol.TxnResponse
}

// response is the answer to q, or, with an error, the response that this is, if it is one.
func (a answer) response(q linear.Request, err error) (linear.Response, error) {
	r := linear.Response{Results: make([]linear.Result, len(q.Steps))}
	var refusal *protocol.Error
	switch {
	case q.Kind == linear.Get && errors.Is(err, protocol.ErrNotFound):
		return r, nil
	case q.Kind == linear.Incr && errors.Is(err, protocol.ErrBadRequest):
		return linear.Response{Refused: true}, nil
	case errors.As(err, &refusal) && refusal.Status == protocol.StatusConflict:
		return linear.Response{Conflict: true, Index: refusal.Index, Version: refusal.Version}, nil
	case err != nil:
		return linear.Response{}, err
	}
	r.Version, r.Existed = a.version, a.existed
	switch q.Kind {
	case linear.Incr:
		r.Results[0].Value = strconv.FormatInt(a.sum, 10)
	case linear.Txn:
		r.Version = a.txn.Version
		for i, one := range a.txn.Results {
			a.values = append(a.values, one.Value)
			r.Results[i].Existed = one.Existed
		}
	}
	for i, v := range a.values {
		if v.Found {
			r.Results[i].Found, r.Results[i].Value, r.Results[i].Version = true, string(v.Data), v.Version
		}
	}
	return r, nil
}
