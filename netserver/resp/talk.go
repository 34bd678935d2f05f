package resp

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kv/netserver"
	"kv/protocol"
	"kv/store"
)

// Options are what a server's door for RESP is made of. All may be missing.
type Options struct {
	// Settings are what CONFIG GET answers besides what the server itself knows, by name.
	Settings func() map[string]string
	// Shutdown ends the process as a signal would, some time after it has returned; nil: SHUTDOWN is an error.
	Shutdown func()
}

// Door serves RESP on the connections of a server.
type Door struct {
	options Options
	// expired counts keys that were deleted because a command gave them an expiry that had passed. It publishes nothing.
	expired atomic.Uint64
	// counted are the figures at the last CONFIG RESETSTAT; nil: there was none. They do not change once they are there.
	counted atomic.Pointer[map[string]uint64]
}

// New returns a door.
func New(o Options) *Door { return &Door{options: o} }

// Name is what logs call the protocol.
func (d *Door) Name() string { return "resp" }

// Open takes a connection that begins as a client of Redis does: with an array, or a line of text.
func (d *Door) Open(c *netserver.Client, first []byte) netserver.Talk {
	if b := first[0]; b < ' ' || b > '~' {
		return nil
	}
	t := &talk{door: d, client: c, session: c.Session(), began: time.Now()}
	t.send = t.sendLong
	t.change = t.runCall
	t.changeAll = t.runQueue
	t.accept = t.acceptFound
	return t
}

// talk is one connection. It is the connection's goroutine's alone.
type talk struct {
	// Fixed.
	door      *Door
	client    *netserver.Client
	session   *store.Session
	began     time.Time
	send      func([]byte) bool         // sendLong
	change    func(*store.Update) error // runCall
	changeAll func(*store.Update) error // runQueue
	accept    func([]store.Found) error // acceptFound

	// While Answer runs.
	out *netserver.Output
	*scratch
	reply

	call call // the command on keys that is run

	progress progress // of the request that has not come whole
	refusal  string   // the answer to it, if it is thrown away as it comes; "": it is kept
	skipping bool     // the rest of a refused request is on its way and will be over with it

	name, library, libraryVersion string // what the client says of itself
	last                          *Command
	mute                          muting
	ended                         bool

	queue        queue
	watched      map[string]uint64 // keys, and their versions when they were watched; 0: absent
	watchClaimed int               // bytes, for those

	// The answer to a request is in buf until it is done, behind what was answered before it, which is in out.
	muted    bool  // nobody wants it
	nested   bool  // it is one of a transaction's
	streamed bool  // its beginning is in out, or sent: see stream
	answered bool  // it was answered by Unflushed
	abandon  error // why the change of keys that is under way is to have no effect
	wanted   int   // for how long an answer there was no memory
}

// muting says whether the client wants answers.
type muting uint8

const (
	muteNone muting = iota
	muteAll
	muteNext // the next command's answer is left out
	muteThis // this one's is
)

// scratch are lists that commands are parsed into and answered from. A connection has one only while it answers.
type scratch struct {
	args    [][]byte
	batch   []request
	keys    [][]byte
	entries []*store.Entry
	found   []store.Found
	pairs   []store.Pair
}

// request is one of a batch: args[from:to] of the scratch.
type request struct{ from, to, used int }

const (
	// batchSize is how many requests are parsed before the first is run, and batchArgs how many arguments they have, at most.
	batchSize = 64
	batchArgs = 512
	// manyArgs is from how many arguments on a request's lists are claimed.
	manyArgs = 128
	// argMemory is about what an argument takes in all the lists on the way, here and in the store.
	argMemory = 160
	// keptLine is how much of a line there is room for while a request is thrown away: the head of a string is shorter.
	keptLine = 100
	// longString is the length from which a string is not copied where it need not be.
	longString = netserver.CopySize
)

var scratches = sync.Pool{New: func() any {
	return &scratch{args: make([][]byte, 0, batchArgs), batch: make([]request, 0, batchSize), keys: make([][]byte, 0, batchArgs)}
}}

func (s *scratch) give() {
	clear(s.args[:cap(s.args)])
	clear(s.keys[:cap(s.keys)])
	clear(s.entries[:cap(s.entries)])
	clear(s.found[:cap(s.found)])
	clear(s.pairs[:cap(s.pairs)])
	if cap(s.args) > 2*batchArgs || cap(s.keys) > 2*batchArgs || cap(s.entries) > 2*batchArgs || cap(s.found) > 2*batchArgs || cap(s.pairs) > 2*batchArgs {
		return
	}
	s.args, s.batch, s.keys, s.entries, s.found = s.args[:0], s.batch[:0], s.keys[:0], s.entries[:0], s.found[:0]
	s.pairs = s.pairs[:0]
	scratches.Put(s)
}

func (t *talk) limits() limits {
	return limits{bulk: int(t.client.Server().Limit()), loggedIn: t.client.Access() > netserver.AccessNone}
}

// Answer answers the whole requests at the start of p.
func (t *talk) Answer(o *netserver.Output, p []byte) (used, need int) {
	t.out, t.scratch = o, scratches.Get().(*scratch)
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
	t.args, t.batch, t.keys = t.args[:0], t.batch[:0], t.keys[:0]
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
		t.batch = append(t.batch, request{from, len(args), n})
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
	for _, q := range t.batch {
		used += q.used
		t.request(t.args[q.from:q.to])
		if t.ended {
			break
		}
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
	t.request(args)
	t.keys, t.entries, t.found, t.pairs = kept, nil, nil, nil
	return used, nil
}

// warm has the store fetch what the batch is going to touch.
func (t *talk) warm() {
	if len(t.batch) < 2 {
		return
	}
	for _, q := range t.batch {
		if q.to-q.from < 2 {
			continue
		}
		if c := commands.find(t.args[q.from]); c != nil && c.First == 1 {
			t.keys = append(t.keys, t.args[q.from+1])
		}
	}
	t.session.Warm(t.keys)
	t.keys = t.keys[:0]
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

// begin begins the answer to a request.
func (t *talk) begin() {
	t.out.Request()
	t.failed, t.streamed, t.answered = "", false, false
	t.muted = t.mute != muteNone
	t.rebase()
}

// rebase has what is written to buf next stand behind what is in out, so that it need not be moved there.
func (t *talk) rebase() {
	if t.long = t.send; t.muted || t.nested {
		t.buf, t.long = t.buf[:0], nil
		return
	}
	b := t.out.Buf
	t.buf = b[len(b):]
}

// done ends it.
func (t *talk) done() {
	if t.failed != "" {
		t.out.Refused(statusOf(t.failed))
	}
	switch {
	case t.answered, t.muted:
	case len(t.buf) < longString || t.streamed:
		t.commit()
	default:
		if answer := slices.Clone(t.buf); t.beginValue(len(answer)) {
			t.out.Value(answer)
			t.rebase()
		}
		t.commit()
	}
	if t.streamed {
		t.out.Finish()
	}
	switch t.mute {
	case muteNext:
		t.mute = muteThis
	case muteThis:
		t.mute = muteNone
	}
	if t.out.Full() {
		t.out.Flush()
	}
}

// commit moves what is in buf to out.
func (t *talk) commit() {
	b, n := t.out.Buf, len(t.buf)
	if n == 0 {
		return
	}
	if all := len(b) + n; all <= cap(b) && &b[:all][len(b)] == &t.buf[0] {
		t.out.Buf = b[:all] // it is there
	} else {
		t.out.Buf = append(b, t.buf...)
	}
	t.buf = t.out.Buf[len(t.out.Buf):]
}

// request answers one request.
func (t *talk) request(args [][]byte) {
	if len(args) == 0 {
		return
	}
	t.begin()
	cmd := find(args)
	if refusal := t.check(cmd, args); refusal != "" {
		if foreign(args) {
			t.ended = true
			t.out.Foreign(bytes.Join(args, []byte{' '}), errForeign)
			return
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

// read runs a command that only reads keys.
func (t *talk) read(cmd *Command, args [][]byte) {
	t.keys = cmd.appendKeys(t.keys[:0], args)
	t.prepare(cmd, args)
	if len(t.keys) == 1 {
		t.call.keyspace = current{t.session}
	} else {
		t.entries = t.session.MGet(t.entries[:0], t.keys)
		t.call.keyspace = snapshot{t.keys, t.entries}
	}
	cmd.run(&t.call)
	t.call = call{}
}

func (t *talk) prepare(cmd *Command, args [][]byte) {
	t.call = call{reply: &t.reply, cmd: cmd, args: args, limits: t.limits(), expired: t.call.expired}
}

// update runs a command that may write keys, all at one instant.
func (t *talk) update(cmd *Command, args [][]byte) {
	t.keys = cmd.appendKeys(t.keys[:0], args)
	t.prepare(cmd, args)
	if len(t.keys) == 0 { // its arguments are wrong
		t.call.keyspace = snapshot{}
		cmd.run(&t.call)
	} else if err := t.apply(t.keys, t.change); err != nil {
		t.failApply(err)
	}
	t.call = call{}
}

// apply applies a change of keys whose answer is written meanwhile. There is no answer if it returns an error.
func (t *talk) apply(keys [][]byte, change func(*store.Update) error) (err error) {
	for range 4 {
		t.restart()
		if _, err = t.session.Update(keys, change); !errors.Is(err, netserver.ErrNotHeld) {
			break
		}
		if err = t.out.Hold(t.lastName(), t.wanted, 0); err != nil { // may flush what is in out
			break
		}
		t.rebase()
	}
	if t.long = t.send; t.muted || t.nested {
		t.long = nil
	}
	if err != nil {
		t.buf, t.failed = t.buf[:0], ""
		return err
	}
	if t.call.expired > 0 {
		t.door.expired.Add(t.call.expired)
	}
	return nil
}

// failApply answers the error of what had memory for its answer promised.
func (t *talk) failApply(err error) {
	t.out.Drop()
	if t.answered = errors.Is(err, netserver.ErrAnswered); !t.answered {
		t.rebase()
		t.fail(err)
	}
}

// restart has a change of keys begin from nothing.
func (t *talk) restart() {
	t.buf, t.failed, t.abandon, t.long, t.call.expired = t.buf[:0], "", nil, t.promiseLong, 0
}

// promiseLong makes sure, in a change of keys, that there is memory for the answer with this string, and has it copied.
func (t *talk) promiseLong(v []byte) bool {
	t.promise(len(t.buf) + len(v) + valueExtra)
	return false
}

// promise makes sure, in a change of keys, that there is memory for an answer of size bytes. If there is not, the change is given up.
func (t *talk) promise(size int) {
	if t.abandon == nil && !t.muted {
		t.wanted = size
		t.abandon = t.out.Promise(t.lastName(), size, 0)
	}
}

// runCall runs the command in t.call as a change of keys.
func (t *talk) runCall(u *store.Update) error {
	t.restart()
	t.call.keyspace = change{u}
	t.call.cmd.run(&t.call)
	return t.abandon
}

// current are keys as they are: for a command that reads one.
type current struct{ session *store.Session }

func (k current) Get(key []byte) found      { return found{copy: k.session.Get(key)} }
func (k current) Set(_, _ []byte, _ uint64) { panic("resp: a command that reads writes") }
func (k current) Delete([]byte) bool        { panic("resp: a command that reads writes") }
func (k current) Expiry(e found) uint64     { return e.Expiry() }
func (k current) Now() uint64               { return uint64(time.Now().UnixMilli()) }

// snapshot are keys as they were together.
type snapshot struct {
	keys    [][]byte
	entries []*store.Entry
}

func (k snapshot) Get(key []byte) found {
	for i := range k.keys {
		if string(k.keys[i]) == string(key) {
			return found{copy: k.entries[i]}
		}
	}
	return found{}
}

func (k snapshot) Set(_, _ []byte, _ uint64) { panic("resp: a command that reads writes") }
func (k snapshot) Delete([]byte) bool        { panic("resp: a command that reads writes") }
func (k snapshot) Expiry(e found) uint64     { return e.Expiry() }
func (k snapshot) Now() uint64               { return uint64(time.Now().UnixMilli()) }

// sendLong sends a long string from where it lies.
func (t *talk) sendLong(v []byte) bool {
	if len(t.buf) > 0 || t.streamed {
		return false // it is a part of an answer
	}
	if t.beginValue(bulkSize(len(v))) {
		t.head('$', len(v))
		t.commit()
		t.out.Value(v)
		t.rebase()
		t.buf = append(t.buf, crlf...)
	}
	return true
}

// beginValue begins an answer of size bytes that is little more than one long string. It returns false if it is answered with an error
// instead.
func (t *talk) beginValue(size int) bool {
	return t.begun(t.out.BeginValue(t.lastName(), size, valueExtra))
}

// bulkSize is how long the answer of a string of n bytes is.
func bulkSize(n int) int {
	var digits [20]byte
	return len("$\r\n\r\n") + len(strconv.AppendInt(digits[:0], int64(n), 10)) + n
}

// valueExtra is about what a value takes besides its bytes while an answer has it.
const valueExtra = 64

// stream begins an answer of size bytes, made of so many values, that is sent piece by piece if it is long. It returns false if it is
// answered with an error instead.
func (t *talk) stream(size, values int) bool {
	if t.muted || t.nested {
		return true // for what it is a part of
	}
	return t.begun(t.out.Begin(t.lastName(), size, int64(values)*valueExtra))
}

// begun is where an answer goes on once out has begun it, or refused that.
func (t *talk) begun(err error) bool {
	t.rebase()
	switch {
	case err == nil:
		t.streamed = true
		return true
	case errors.Is(err, netserver.ErrAnswered):
		t.answered = true
	default:
		t.fail(err)
	}
	return false
}

func (t *talk) lastName() string {
	if t.last == nil {
		return ""
	}
	return t.last.Name
}

// piece appends v to an answer that stream began.
func (t *talk) piece(v []byte) {
	if !t.streamed {
		t.buf = append(t.buf, v...)
		return
	}
	t.commit()
	t.out.Piece(v)
	t.rebase()
}

// fail answers what the server could not do.
func (t *talk) fail(err error) { t.err(errorText(err)) }

// errorText is what a client is told of err.
func errorText(err error) string {
	if errors.Is(err, store.ErrTooLarge) {
		return errTooLong
	}
	e := netserver.Failure(err)
	why := e.Message
	if why == "" {
		why = e.Error()
	}
	switch e.Status {
	case protocol.StatusOutOfMemory:
		return "OOM command not allowed: " + why
	case protocol.StatusUnauthenticated:
		return "NOAUTH Authentication required."
	case protocol.StatusForbidden:
		return "NOPERM " + why
	case protocol.StatusUnavailable:
		return "MISCONF " + why
	}
	return "ERR " + why
}

// statusOf is how the books have an error that was answered with this text.
func statusOf(text string) protocol.Status {
	for code, status := range statuses {
		if len(text) > len(code) && text[:len(code)] == code && text[len(code)] == ' ' {
			return status
		}
	}
	return protocol.StatusBadRequest
}

var statuses = map[string]protocol.Status{
	"OOM":       protocol.StatusOutOfMemory,
	"NOAUTH":    protocol.StatusUnauthenticated,
	"WRONGPASS": protocol.StatusUnauthenticated,
	"NOPERM":    protocol.StatusForbidden,
	"MISCONF":   protocol.StatusUnavailable,
}

var errForeign = errors.New("what came is an HTTP request")

// foreign reports whether the words of a line are those of an HTTP request: a web page may make a browser send one here.
func foreign(args [][]byte) bool {
	last := args[len(args)-1]
	return equalFold(args[0], "host:") || equalFold(args[0], "post") || len(args) == 3 && len(last) > 5 && equalFold(last[:5], "http/")
}
