package rest

import (
	"kv/netserver"
	"kv/protocol"
	"kv/protocol/jsonform"
	"kv/store"
)

// The requests of many keys, each at one instant.

func (x *exchange) mget() (*answer, error) {
	keys, err := x.keysAlone()
	if err != nil {
		return nil, err
	}
	entries := x.client.Session().MGet(make([]*store.Entry, 0, len(keys)), keys)
	held := int64(0)
	for _, e := range entries {
		held += heldBy(e)
	}
	if err := x.holdJSON(held); err != nil {
		return nil, err
	}
	return answerJSON(func(out *output) error {
		out.text(`{"records":[`)
		for i, e := range entries {
			if i > 0 {
				out.text(",\n")
			}
			out.entry(keys[i], e)
		}
		out.text("]}\n")
		return nil
	}), nil
}

// entry appends a record of what a key holds; nil: nothing.
func (o *output) entry(key []byte, e *store.Entry) {
	if e == nil {
		o.record(key, false, nil, 0, 0)
		return
	}
	o.record(key, true, e.Value(), e.Version(), e.Expiry())
}

// heldBy is what an entry takes until an answer with it is sent.
func heldBy(e *store.Entry) int64 {
	if e == nil {
		return 0
	}
	return int64(len(e.Key())+e.Len()) + entryOverhead
}

// keysAlone reads {"keys":[…]}.
func (x *exchange) keysAlone() (keys [][]byte, err error) {
	err = x.document(func(in *jsonform.Scanner) error {
		return object(in, []string{"keys"}, 1, func(int) error {
			keys, err = x.keys(in)
			return err
		})
	})
	return keys, err
}

func (x *exchange) mdel() (*answer, error) {
	keys, err := x.keysAlone()
	if err != nil {
		return nil, err
	}
	existed, version, err := x.client.Session().Del(keys)
	if err != nil {
		return nil, err
	}
	return answerJSON(func(out *output) error {
		out.text(`{"existed":`)
		out.number(uint64(existed))
		out.version(version)
		return nil
	}), nil
}

// version appends the last member of an object, the version of a write.
func (o *output) version(version uint64) {
	o.text(`,"version":`)
	o.number(version)
	o.text("}\n")
}

// versionAlone is the answer to a write that has nothing else to say.
func versionAlone(version uint64) *answer {
	return answerJSON(func(out *output) error {
		out.text(`{"version":`)
		out.number(version)
		out.text("}\n")
		return nil
	})
}

// mset is a transaction of sets: so its records may have expiries.
func (x *exchange) mset() (*answer, error) {
	ops := list[store.Op]{x: x}
	err := x.document(func(in *jsonform.Scanner) error {
		return object(in, []string{"records"}, 1, func(int) error {
			return in.Array(func() error {
				op, err := readRecord(in)
				if err != nil {
					return err
				}
				return ops.append(op)
			})
		})
	})
	if err != nil {
		return nil, err
	}
	_, version, err := x.client.Session().Txn(nil, nil, ops.items)
	if err != nil {
		return nil, err
	}
	return versionAlone(version), nil
}

// readRecord reads a record, as a list of keys writes it: its version means nothing.
func readRecord(in *jsonform.Scanner) (op store.Op, err error) {
	op.Kind = store.OpSet
	var life lifetime
	names := []string{"key", "value", "ttl", "expiry", "version"}
	err = object(in, names, 2, func(i int) (err error) {
		switch names[i] {
		case "key":
			op.Key, err = in.Bytes()
		case "value":
			op.Value, err = in.Bytes()
		case "version":
			_, err = in.Uint()
		default:
			err = life.member(in, names[i])
		}
		return err
	})
	op.TTL, op.ExpireAt = life.ttl, life.at
	return op, err
}

func (x *exchange) txn() (*answer, error) {
	conds, ops := list[store.Condition]{x: x}, list[store.Op]{x: x}
	err := x.document(func(in *jsonform.Scanner) error {
		names := []string{"operations", "conditions"}
		return object(in, names, 1, func(i int) error {
			return in.Array(func() error {
				if names[i] == "conditions" {
					c, err := readCondition(in)
					if err != nil {
						return err
					}
					return conds.append(c)
				}
				op, err := readOperation(in)
				if err != nil {
					return err
				}
				if op.Kind != store.OpGet && x.client.Access() < netserver.AccessWrite {
					return x.client.Denied("a txn that writes")
				}
				return ops.append(op)
			})
		})
	})
	if err != nil {
		return nil, err
	}
	results, version, err := x.transact(conds.items, ops.items)
	if err != nil {
		return nil, err
	}
	return answerJSON(func(out *output) error {
		out.text(`{"results":[`)
		for i, op := range ops.items {
			if i > 0 {
				out.text(",\n")
			}
			switch op.Kind {
			case store.OpGet:
				out.entry(op.Key, results[i].Entry)
			case store.OpDel:
				if results[i].Existed {
					out.text(`{"existed":true}`)
				} else {
					out.text(`{"existed":false}`)
				}
			default:
				out.text("{}")
			}
		}
		out.text("]")
		out.version(version)
		return nil
	}), nil
}

// heldTries is how often a transaction is tried for whose answer there was not enough memory; what it reads may grow meanwhile.
const heldTries = 4

// transact runs a transaction once there is memory for its answer: afterwards it could not be refused any more.
func (x *exchange) transact(conds []store.Condition, ops []store.Op) (results []store.Result, version uint64, err error) {
	held := int64(holdSize + outputMemory) // what takes less is not held
	for range heldTries {
		var needed int64
		results, version, err = x.client.Session().TxnIf(nil, conds, ops, func(results []store.Result) error {
			needed = outputMemory
			for _, r := range results {
				needed += heldBy(r.Entry)
			}
			if needed > held {
				return errNotHeld
			}
			return nil
		})
		if err != errNotHeld {
			return results, version, err
		}
		x.letGo()
		if err := x.hold(needed); err != nil {
			return nil, 0, err
		}
		held = needed
	}
	return nil, 0, &protocol.Error{Status: protocol.StatusOutOfMemory, Message: "no memory for an answer of this size now"}
}

// errNotHeld is a transaction's for whose answer no memory is held yet.
var errNotHeld = &protocol.Error{Status: protocol.StatusOutOfMemory, Message: "no memory is held for the answer"}

func readCondition(in *jsonform.Scanner) (c store.Condition, err error) {
	err = object(in, []string{"key", "version"}, 2, func(i int) (err error) {
		if i == 0 {
			c.Key, err = in.Bytes()
		} else {
			c.Version, err = in.Uint()
		}
		return err
	})
	return c, err
}

// readOperation reads {"get":key}, {"delete":key} or {"set":{record}}.
func readOperation(in *jsonform.Scanner) (op store.Op, err error) {
	there, err := in.Object([]string{"get", "set", "delete"}, func(i int) (err error) {
		if op.Kind != 0 {
			return in.Fail("an operation is one of get, set and delete")
		}
		switch i {
		case 0:
			op.Kind = store.OpGet
			op.Key, err = in.Bytes()
		case 1:
			op, err = readRecord(in)
		case 2:
			op.Kind = store.OpDel
			op.Key, err = in.Bytes()
		}
		return err
	})
	if err == nil && there == 0 {
		err = in.Fail("an operation is one of get, set and delete")
	}
	return op, err
}
