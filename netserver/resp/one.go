package resp

import (
	"errors"
	"slices"

	"kv/netserver"
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

// manyGets is how many GETs are looked up together, at most.
const manyGets = 16

// isGet reports whether the request is a GET that has its key.
func (q *request) isGet() bool { return q.cmd != nil && q.cmd.Name == "get" && q.to-q.from == 2 }

// gets runs the GETs that the batch begins with, as far as their answers are short, if there are two at least and
// nothing is in the way. It returns how many it has run. They are looked up side by side, in one view, and in their
// order.
func (t *talk) gets(batch []request) (run int) {
	n := 0
	for n < min(len(batch), manyGets) && batch[n].isGet() {
		n++
	}
	if n < 2 || t.queue.open || t.mute != muteNone || t.out.Solo() || t.client.Access() < netserver.AccessRead {
		return 0
	}
	if !t.looked {
		if t.client.Begin() != nil {
			return 0 // the first of them is told
		}
		t.looked = true
	}
	t.keys = cleared(t.keys)
	for _, q := range batch[:n] {
		t.keys = append(t.keys, t.args[q.from+1])
	}
	t.found = slices.Grow(t.found[:0], manyGets)[:n]
	v := t.session.View()
	v.Peek(t.found, t.keys)
	full := false
	for _, e := range t.found {
		if e.Exists() && e.Len() >= longString {
			break // by itself: memory may have to be waited for
		}
		t.begin()
		if t.last = batch[run].cmd; e.Exists() {
			t.bulk(e.Value())
		} else {
			t.null()
		}
		run++
		if full = t.finish(); full {
			break
		}
	}
	v.Count(t.found[:run])
	v.Close()
	t.found, t.keys = cleared(t.found), cleared(t.keys)
	if full {
		t.out.Flush() // it waits, so no view is open
	}
	return run
}

func mGetOne(t *talk, args [][]byte) {
	keys := args[1:]
	t.found = slices.Grow(cleared(t.found), len(keys))[:len(keys)]
	v, err := t.view(keys)
	if err != nil {
		t.failApply(err)
		return
	}
	if t.wanted < longString {
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
	t.entries = cleared(t.entries)
	for _, e := range t.found {
		t.entries = append(t.entries, v.Entry(e))
	}
	v.Close() // memory may have to be waited for
	if !t.stream(t.wanted, len(keys)) {
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

// view opens a view of keys that there is memory to answer with; found has them, and wanted how long the answer is.
func (t *talk) view(keys [][]byte) (v store.View, err error) {
	for range 4 {
		if v, err = t.session.MGetView(t.found, keys, t.accept); !errors.Is(err, netserver.ErrNotHeld) {
			break
		}
		if err = t.out.Hold(t.lastName(), t.wanted, int64(len(keys))*valueExtra); err != nil {
			break
		}
		t.rebase()
	}
	return v, err
}

// acceptFound sees to the memory for an answer that has all that is in found.
func (t *talk) acceptFound(all []store.Found) error {
	t.wanted = bulkSize(len(all)) - len(all) - len(crlf) // an array's head has one end
	for _, e := range all {
		switch {
		case e.Exists():
			t.wanted += bulkSize(e.Len())
		case t.resp3:
			t.wanted += len("_\r\n")
		default:
			t.wanted += len("$-1\r\n")
		}
	}
	if t.muted {
		return nil
	}
	return t.out.Promise(t.lastName(), t.wanted, int64(len(all))*valueExtra)
}

// mSetOne is MSET without the detour.
func mSetOne(t *talk, args [][]byte) {
	if len(args)%2 == 0 {
		t.err("ERR wrong number of arguments for 'mset' command")
		return
	}
	pairs := slices.Grow(cleared(t.pairs), len(args)/2)
	for i := 1; i < len(args); i += 2 {
		pairs = append(pairs, store.Pair{Key: args[i], Value: args[i+1]})
	}
	t.pairs = pairs
	if _, err := t.session.MSet(pairs); err != nil {
		t.fail(err)
		return
	}
	t.ok()
}

func existsOne(t *talk, args [][]byte) {
	t.found = slices.Grow(cleared(t.found), len(args)-1)[:len(args)-1]
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
