package resp

import (
	"errors"
	"slices"

	"kv/store"
)

// What most commands that come are, done without the detour of a change of keys.

func getOne(t *talk, args [][]byte) {
	v := t.session.View()
	e := v.Get(args[1])
	switch {
	case !e.Exists():
		v.Close()
		t.null()
	case e.Len() < longString:
		t.bulk(e.Value())
		v.Close()
	default:
		own := v.Entry(e)
		v.Close() // memory may have to be waited for
		t.bulk(own.Value())
	}
}

func mGetOne(t *talk, args [][]byte) {
	keys := args[1:]
	t.found = slices.Grow(t.found[:0], len(keys))[:len(keys)]
	v, _ := t.session.MGetView(t.found, keys, nil)
	size := bulkSize(len(keys)) - len(keys)
	for _, e := range t.found {
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
		for _, e := range t.found {
			if e.Exists() {
				t.bulk(e.Value())
			} else {
				t.null()
			}
		}
		v.Close()
		return
	}
	t.entries = t.entries[:0]
	for _, e := range t.found {
		t.entries = append(t.entries, v.Entry(e))
	}
	v.Close() // memory may have to be waited for
	if !t.stream(size, len(keys)) {
		return
	}
	t.array(len(keys))
	for _, e := range t.entries {
		if e == nil {
			t.null()
			continue
		}
		t.head('$', e.Len())
		t.piece(e.Value())
		t.buf = append(t.buf, crlf...)
	}
}

func existsOne(t *talk, args [][]byte) {
	t.found = slices.Grow(t.found[:0], len(args)-1)[:len(args)-1]
	v, _ := t.session.MGetView(t.found, args[1:], nil)
	defer v.Close()
	n := int64(0)
	for _, e := range t.found {
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
