package resp

import (
	"errors"

	"kv/store"
)

// A transaction: the commands behind MULTI are kept and, at EXEC, those on keys are one change of all their keys, with
// the versions of the watched ones compared first. The others, which are about the connection or the server, are done
// right after it; their answers stand where theirs belong.

// queue is the transaction that a connection has begun.
type queue struct {
	open    bool
	failed  bool // a command could not be queued, so EXEC is to fail
	all     []queued
	claimed int // bytes, for what is kept
}

type queued struct {
	cmd  *Command
	args [][]byte
	end  int // where its answer ends, in that of the change of keys
}

// queuedExtra is about what a queued command, and each of its arguments, takes besides its bytes.
const queuedExtra = 64

var errWatched = errors.New("a watched key has changed")

func multi(t *talk, _ [][]byte) {
	t.queue.open = true
	t.ok()
}

// enqueue keeps a command until EXEC.
func (t *talk) enqueue(cmd *Command, args [][]byte) {
	if cmd.Subs != nil && cmd.do == nil {
		t.queue.failed = true
		t.err("ERR wrong number of arguments for '" + cmd.Name + "' command")
		return
	}
	if t.queue.failed { // it is to fail: nothing to keep
		t.simple("QUEUED")
		return
	}
	size := queuedExtra
	for _, a := range args {
		size += len(a) + queuedExtra
	}
	if err := t.client.Claim(size); err != nil {
		t.queue.failed = true
		t.fail(err)
		return
	}
	t.queue.claimed += size
	t.queue.all = append(t.queue.all, queued{cmd: cmd, args: kept(args)})
	t.simple("QUEUED")
}

// kept returns a copy of args.
func kept(args [][]byte) [][]byte {
	size := 0
	for _, a := range args {
		size += len(a)
	}
	all, bytes := make([][]byte, len(args)), make([]byte, 0, size)
	for i, a := range args {
		bytes = append(bytes, a...)
		all[i] = bytes[len(bytes)-len(a) : len(bytes) : len(bytes)]
	}
	return all
}

// discard gives the transaction up.
func (t *talk) discard() {
	if t.queue.claimed > 0 {
		t.client.Release(t.queue.claimed)
	}
	t.queue = queue{}
	t.unwatch()
}

func discard(t *talk, _ [][]byte) {
	if !t.queue.open {
		t.err("ERR DISCARD without MULTI")
		return
	}
	t.discard()
	t.ok()
}

func watch(t *talk, args [][]byte) {
	if !t.fresh() {
		return
	}
	size := 0
	for _, key := range args[1:] {
		size += len(key) + queuedExtra
	}
	if err := t.client.Claim(size); err != nil {
		t.fail(err)
		return
	}
	for _, key := range args[1:] {
		if _, twice := t.watched[string(key)]; twice {
			t.client.Release(len(key) + queuedExtra)
			continue
		}
		if t.watched == nil {
			t.watched = make(map[string]store.Stamp)
		}
		t.watched[string(key)] = t.session.Stamp(key)
		t.watchClaimed += len(key) + queuedExtra
	}
	t.ok()
}

func unwatch(t *talk, _ [][]byte) {
	t.unwatch()
	t.ok()
}

func (t *talk) unwatch() {
	if t.watchClaimed > 0 {
		t.client.Release(t.watchClaimed)
	}
	t.watched, t.watchClaimed = nil, 0
}

func exec(t *talk, _ [][]byte) {
	switch {
	case !t.queue.open:
		t.err("ERR EXEC without MULTI")
		return
	case t.queue.failed:
		t.discard()
		t.err("EXECABORT Transaction discarded because of previous errors.")
		return
	}
	defer t.discard()
	if !t.fresh() {
		return
	}
	t.looked = false
	t.buf, t.long, t.nested = nil, nil, true
	err := t.execute()
	answer := t.buf
	t.nested = false
	t.rebase()
	switch {
	case errors.Is(err, errWatched):
		t.out.Drop()
		t.nullArray()
	case err != nil:
		t.failApply(err)
	default:
		t.buf = answer
	}
}

// execute does all that is queued and leaves the answer in buf.
func (t *talk) execute() error {
	keys := make([][]byte, 0, len(t.watched)+len(t.queue.all))
	for key := range t.watched {
		keys = append(keys, []byte(key))
	}
	for _, q := range t.queue.all {
		if q.cmd.run != nil {
			keys = q.cmd.appendKeys(keys, q.args)
		}
	}
	if err := t.apply(keys, t.changeAll); err != nil {
		return err
	}
	changed := t.buf
	t.buf, t.failed, t.call, t.changed = nil, "", call{}, change{}
	t.array(len(t.queue.all))
	begin := 0
	for _, q := range t.queue.all {
		if q.cmd.run != nil {
			t.buf = append(t.buf, changed[begin:q.end]...)
			begin = q.end
			continue
		}
		mark := len(t.buf)
		t.last = q.cmd
		if q.cmd.Flags&FlagRead == 0 || t.fresh() {
			q.cmd.do(t, q.args)
		}
		if size := len(t.buf) + len(changed) - begin; size >= longString && !t.muted {
			// The others are done, and to be answered.
			if err := t.out.Promise(q.cmd.Name, size, 0); err != nil {
				t.buf = t.buf[:mark]
				t.err("ERR there is no memory for so long an answer in a transaction")
			}
		}
	}
	return nil
}

// runQueue runs the queued commands on keys as one change.
func (t *talk) runQueue(u *store.Update) error {
	t.restart()
	t.changed = change{Update: u}
	for key, stamp := range t.watched {
		if !u.Stamp([]byte(key)).Same(stamp) {
			return errWatched
		}
	}
	for i := range t.queue.all {
		q := &t.queue.all[i]
		if q.cmd.run == nil {
			continue
		}
		t.prepare(q.cmd, q.args)
		t.changed.reading = q.cmd.Flags&FlagRead != 0
		t.call.keyspace = &t.changed
		q.cmd.run(&t.call)
		if q.end = len(t.buf); q.end >= longString {
			t.promise(q.end + valueExtra)
		}
		if t.abandon != nil {
			return t.abandon
		}
	}
	t.changed.count()
	return nil
}
