package resp

import (
	"errors"

	"kv/store"
)

// What most commands that come are, done without the detour of a change of keys.

func getOne(t *talk, args [][]byte) {
	e := t.session.Get(args[1])
	if !e.Exists() {
		t.null()
		return
	}
	t.bulk(e.Value())
}

func mGetOne(t *talk, args [][]byte) {
	keys := args[1:]
	t.entries = t.session.MGet(t.entries[:0], keys)
	size := bulkSize(len(keys)) - len(keys)
	for _, e := range t.entries {
		if e.Exists() {
			size += bulkSize(e.Len())
		} else {
			size += len("$-1\r\n")
			if t.resp3 {
				size += len("_\r\n") - len("$-1\r\n")
			}
		}
	}
	size -= len("\r\n") // an array's head has one end
	if size < longString {
		t.array(len(keys))
		for _, e := range t.entries {
			if e.Exists() {
				t.bulk(e.Value())
			} else {
				t.null()
			}
		}
		return
	}
	if !t.beginLong(size, len(keys)) {
		return
	}
	t.array(len(keys))
	for _, e := range t.entries {
		if !e.Exists() {
			t.null()
			continue
		}
		t.head('$', e.Len())
		t.piece(e.Value())
		t.buf = append(t.buf, crlf...)
	}
}

func existsOne(t *talk, args [][]byte) {
	t.entries = t.session.MGet(t.entries[:0], args[1:])
	n := int64(0)
	for _, e := range t.entries {
		if e.Exists() {
			n++
		}
	}
	t.int(n)
}

// setOne is SET with no option but NX and an expiry, which the store has as one write. Others are changes of keys.
func setOne(t *talk, args [][]byte) {
	o := store.SetOptions{}
	if len(args) > 3 {
		t.prepare(commands.find(args[0]), args)
		t.call.keyspace = snapshot{}
		read, ok := t.call.options(3, optSet)
		if !ok {
			return
		}
		if read.xx || read.get || read.keepTTL || read.compare != compareNothing {
			t.update(t.call.cmd, args)
			return
		}
		if o.ExpireAt, ok = t.call.expireAt(read); !ok {
			return
		}
		o.Conditional = read.nx
	}
	_, err := t.session.Set(args[1], args[2], o)
	var conflict *store.ConflictError
	switch {
	case err == nil:
		t.ok()
	case errors.As(err, &conflict):
		t.null()
	default:
		t.fail(err)
	}
}
