package resp

import (
	"bytes"
	"errors"
	"strings"

	"kv/netserver"
	"kv/store"
)

// talk is one connection. Only the connection's goroutine uses it.
type talk struct {
	// Fixed.
	door      *Door
	client    *netserver.Client
	session   *store.Session
	send      func([]byte) bool         // sendLong
	change    func(*store.Update) error // runCall
	changeAll func(*store.Update) error // runQueue
	accept    func([]store.Found) error // acceptFound
	claimRoom func(n int) error         // claimMemory

	// While Answer runs.
	out *netserver.Output
	*scratch
	reply

	call    call   // the command on keys that is run
	changed change // what it runs on, where it may write

	progress progress // of the request that has not come whole
	refusal  string   // the answer to it, if it is thrown away as it comes; "": it is kept
	skipping bool     // the rest of a refused request is on its way and will be over with it

	name, library, libraryVersion string // what the client says of itself
	last                          *Command
	mute                          muting
	ended                         bool
	looked                        bool // see fresh

	queue        queue
	watched      map[string]store.Stamp // keys, as they were when they were watched
	watchClaimed int                    // bytes, for those

	// The answer to a request is in buf until it is done, behind what was answered before it, which is in out.
	muted    bool  // nobody wants it
	nested   bool  // it is one of a transaction's
	streamed bool  // its beginning is in out, or sent: see stream
	answered bool  // it was answered by Unflushed
	abandon  error // why the change of keys that is under way is to have no effect
	wanted   int   // for how long an answer there was no memory
	claimed  int   // bytes, for what the command that runs puts together
}

// muting says whether the client wants answers.
type muting uint8

const (
	muteNone muting = iota
	muteAll
	muteNext // the next command's answer is left out
	muteThis // this one's is
)

func (t *talk) limits() limits {
	return limits{bulk: int(t.client.Server().Limit()), loggedIn: t.client.Access() > netserver.AccessNone}
}

// Answer answers the whole requests at the start of p.
func (t *talk) Answer(o *netserver.Output, p []byte) (used, need int) {
	t.out, t.scratch, t.looked = o, scratches.Get().(*scratch), false
	defer func() {
		t.scratch.give()
		t.out, t.scratch, t.buf = nil, nil, nil // all of it is in out
	}()
	for !t.ended {
		if t.refusal != "" {
			n, done := t.throwAway(p[min(used, len(p)):])
			used += n
			if !done {
				return used, t.progress.need(0)
			}
			continue
		}
		n, err := t.parse(p[used:])
		if err != nil {
			t.bad(p[used+n:], err)
			return len(p), 0
		}
		if n == 0 {
			break
		}
		used += n
	}
	if t.ended {
		return len(p), 0
	}
	if used == len(p) {
		return used, 0
	}
	return used, t.progress.need(len(p) - used)
}

// parse parses a batch of whole requests and runs them. It returns how long they were: 0 if there was none.
func (t *talk) parse(p []byte) (used int, err error) {
	l := t.limits()
	if t.progress.begun { // nothing to parse before it is whole
		whole, err := t.progress.advance(p, l)
		if !whole || err != nil {
			return 0, err
		}
	}
	t.args, t.batch, t.keys = cleared(t.args), t.batch[:0], cleared(t.keys)
	for used < len(p) {
		if many(p[used:]) {
			if len(t.batch) == 0 {
				return t.large(p, l)
			}
			break
		}
		from := len(t.args)
		args, n, err := parse(t.args, p[used:], l)
		if err != nil {
			if len(t.batch) == 0 {
				return 0, err
			}
			break // those before it first
		}
		if n == 0 {
			break
		}
		used += n
		t.args = args
		t.batch = append(t.batch, request{find(args[from:]), from, len(args), n})
		if len(t.batch) == batchSize || len(args) > batchArgs-manyArgs || !l.loggedIn {
			break
		}
	}
	if len(t.batch) == 0 {
		_, err := t.progress.advance(p, l)
		return 0, err
	}
	t.progress = progress{}
	t.warm()
	used = 0
	for batch := t.batch; len(batch) > 0 && !t.ended; {
		n := t.gets(batch)
		if n == 0 {
			t.request(batch[0].cmd, t.args[batch[0].from:batch[0].to])
			n = 1
		}
		for _, q := range batch[:n] {
			used += q.used
		}
		batch = batch[n:]
	}
	return used, nil
}

// many reports whether the request at the start of p may have more than manyArgs arguments.
func many(p []byte) bool {
	return p[0] == '*' && len(p) > 3 && p[2] != '\r' && p[3] != '\r'
}

// large runs the request at the start of p, which has many arguments, once it is whole.
func (t *talk) large(p []byte, l limits) (used int, err error) {
	whole, err := t.progress.advance(p, l)
	if !whole || err != nil {
		return 0, err
	}
	n, _, _ := arrayHead(p, l)
	memory := n * argMemory
	if err := t.client.Claim(memory); err != nil {
		t.begin()
		t.fail(err)
		t.done()
		used, t.progress = t.progress.at, progress{}
		return used, nil
	}
	defer t.client.Release(memory)
	args, used, err := parse(make([][]byte, 0, n), p, l)
	if err != nil {
		return 0, err
	}
	t.progress = progress{}
	kept := t.keys
	t.keys = make([][]byte, 0, n)
	t.request(find(args), args)
	t.keys, t.entries, t.found, t.pairs = kept, nil, nil, nil
	return used, nil
}

// warm has the store fetch the keys of the batch ahead. A batch of GETs alone is left to gets, which does the same.
func (t *talk) warm() {
	if len(t.batch) < 2 {
		return
	}
	others := false
	for _, q := range t.batch {
		if q.cmd != nil && q.cmd.First == 1 && q.to-q.from > 1 {
			t.keys = append(t.keys, t.args[q.from+1])
			others = others || !q.isGet()
		}
	}
	if others {
		t.session.Warm(t.keys)
	}
	t.keys = cleared(t.keys)
}

// Refuse has the unfinished request at the start of p thrown away as it comes, and answered with err when all of it has come.
func (t *talk) Refuse(o *netserver.Output, p []byte, err error) (used, need int) {
	t.refusal = errorText(err)
	return t.Answer(o, p)
}

// throwAway takes what has come of a refused request. done: all of it has, and it is answered.
func (t *talk) throwAway(p []byte) (used int, done bool) {
	if !t.skipping {
		whole, err := t.progress.advance(p, t.limits())
		if err != nil {
			t.bad(p, err)
			return len(p), true
		}
		if !whole && len(p) >= keptLine && t.progress.at == 0 {
			t.bad(p, protocolError("too big inline request"))
			return len(p), true
		}
		used = t.progress.at
		t.progress.skip(used)
		if !whole {
			t.skipping = t.progress.args == 0 && t.progress.begun
			return used, false
		}
	}
	t.begin()
	t.err(t.refusal)
	t.done()
	t.refusal, t.skipping, t.progress = "", false, progress{}
	return used, true
}

// Unflushed answers n requests whose answers could not be made sure of.
func (t *talk) Unflushed(o *netserver.Output, n int, err error) {
	r := reply{buf: o.Buf, resp3: t.resp3}
	for range n {
		r.err(errorText(err))
	}
	o.Buf = r.buf
}

// Close forgets what the connection has kept.
func (t *talk) Close() {
	t.discard()
}

// bad ends the connection: what has come can't be a request.
func (t *talk) bad(p []byte, err error) {
	t.begin()
	t.err("ERR " + err.Error())
	t.done()
	t.ended = true
	t.out.End(err)
}

// request answers one request; cmd is nil where there is no such command.
func (t *talk) request(cmd *Command, args [][]byte) {
	if len(args) == 0 {
		return
	}
	t.begin()
	if refusal := t.check(cmd, args); refusal != "" {
		if foreign(args) {
			t.ended = true
			t.out.Foreign(bytes.Join(args, []byte{' '}), errForeign)
			return
		}
		if cmd != nil && cmd.Name == "exec" && t.queue.open { // the transaction is over, as in Redis
			t.discard()
			refusal = "EXECABORT Transaction discarded because of: " + strings.TrimPrefix(refusal, "ERR ")
		}
		t.queue.failed = t.queue.open
		t.err(refusal)
		t.done()
		return
	}
	t.last = cmd
	if t.queue.open && !cmd.immediate() {
		t.enqueue(cmd, args)
	} else {
		t.run(cmd, args)
	}
	t.done()
}

// check returns why args are refused unseen; "": they are not.
func (t *talk) check(cmd *Command, args [][]byte) string {
	access := t.client.Access()
	switch {
	case access == netserver.AccessNone && (cmd == nil || cmd.Access() > access):
		return errorText(t.client.Denied(""))
	case cmd == nil:
		return unknown(args)
	case !cmd.takes(len(args)):
		return "ERR wrong number of arguments for '" + cmd.Name + "' command"
	case t.queue.open && cmd.Flags&FlagNoMulti != 0:
		return "ERR Command '" + cmd.Name + "' not allowed inside a transaction"
	case cmd.Access() > access:
		return "NOPERM User " + t.user() + " has no permissions to run the '" + cmd.Name + "' command"
	}
	return ""
}

// immediate reports whether the command is done at once in a transaction, too.
func (c *Command) immediate() bool {
	switch c.Name {
	case "exec", "discard", "quit", "reset":
		return true
	}
	return false
}

// run runs a command that passed all checks, and is in no transaction.
func (t *talk) run(cmd *Command, args [][]byte) {
	switch {
	case cmd.Flags&FlagWrite != 0:
		t.looked = false
	case cmd.Flags&FlagRead != 0 && !t.fresh():
		return
	}
	switch {
	case cmd.one != nil:
		cmd.one(t, args)
	case cmd.do != nil:
		cmd.do(t, args)
	case cmd.Subs != nil:
		t.err("ERR wrong number of arguments for '" + cmd.Name + "' command")
	case cmd.Flags&FlagRead != 0:
		t.read(cmd, args)
	default:
		t.update(cmd, args)
	}
}

// fresh reports whether the store is as new as this client's reads need. In a cluster that is asked once for all
// requests that have come together, and again behind a write. Where it can't be told, fresh answers the request with
// the error.
func (t *talk) fresh() bool {
	if t.looked {
		return true
	}
	if err := t.client.Begin(); err != nil {
		t.fail(err)
		return false
	}
	t.looked = true
	return true
}

var errForeign = errors.New("what came is an HTTP request")

// foreign reports whether the words of a line are those of an HTTP request: a web page may make a browser send one here.
func foreign(args [][]byte) bool {
	last := args[len(args)-1]
	return equalFold(args[0], "host:") || equalFold(args[0], "post") ||
		len(args) == 3 && len(last) > 5 && equalFold(last[:5], "http/")
}
