package wal

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kv/store"
	"kv/store/wal/feed"
	"kv/store/wal/frame"
)

// queue is what the writers and the flusher share: the writes between Append and the disk, and who waits for them. The
// flusher takes work from it and says of all of that how it ended, with finish, hold or fail; nothing else wakes a waiter,
// and none is woken without its outcome.
type queue struct {
	// Fixed, in bytes.
	limit int64 // of queued, above which Admit waits
	ahead int64 // Options.ReserveBytes
	sure  int64 // the largest write that admits alone lets pass

	// mu orders the writes: versions are given out under it. It guards what follows, and is never held while anything waits
	// for the disk.
	mu       sync.Mutex
	last     uint64     // the newest version that was given out
	open     *batch     // collects writes for the flusher; never nil
	busy     *batch     // what the flusher has in hand, or what found no room; nil: nothing
	queued   int64      // bytes in open and busy
	spare    [][]byte   // chunks for the records of batches, empty
	expected int        // how many writes to gather: most of those that waited for the last batch, or came meanwhile
	changed  sync.Cond  // wakes Admit: queued fell, or writes are refused
	requests []*request // for the flusher
	running  bool       // the flusher runs: Replay has returned
	closing  bool       // Close was called
	err      error      // why nothing can be written any more; once set, never changed
	failed   error      // err, if it is a failure
	feed     *feed.Feed // passes on what is appended

	// Room on the disk.
	grant int64 // the bytes that the file is certain to have room for, queued ones included; MaxInt64: nobody can tell
	short error // why grant is less than wanted, so that no more may be queued; nil: it is enough
	held  error // why the batch in hand could not be written, so that no more may be queued; nil: it could
	full  error // what writes are refused with, for want of room; nil: they are not refused
	need  int64 // how many bytes of room there must be, beyond what is queued, before writes go on
	news  bool  // full was set, and the flusher has not seen that yet

	// admits says that a write of up to sure bytes need neither wait nor be refused. It is stored with mu held, by
	// updateAdmits. Admit loads it without mu: a write that passes on an old value is one of a few too many, or Append
	// refuses it. It publishes nothing else.
	admits atomic.Bool
	// durable is the version up to which Wait returns at once; MaxUint64 where the policy promises nothing. The flusher
	// stores it after the sync that makes it true (W3).
	durable atomic.Uint64
	wake    chan struct{} // of capacity 1: there is something for the flusher
}

func (q *queue) init(o Options) {
	q.limit, q.ahead, q.open, q.wake, q.grant = o.QueueBytes, o.ReserveBytes, newBatch(), make(chan struct{}, 1), math.MaxInt64
	q.changed.L = &q.mu
	q.feed = feed.New(&q.mu)
	// Where admits is true, half of the queue and an eighth of the room in advance are left at least.
	if q.sure = q.limit / 8; q.ahead > 0 {
		q.sure = min(q.sure, q.ahead/8)
	}
	if o.Sync != Always {
		q.durable.Store(math.MaxUint64)
	}
}

// request asks the flusher for more than the next batch: to sync all that was appended before.
type request struct {
	rotate bool  // and then to begin a new file
	room   int64 // if not 0, instead of both: to look for room for a write of so many bytes behind what is queued
	done   chan struct{}
	// Set before done is closed, which publishes them.
	err    error
	head   frame.Header // of the file that is written now
	logged int64        // counters.logged, at its beginning
}

// resolve lets the request's owner go on. Called once.
func (r *request) resolve(err error) {
	r.err = err
	close(r.done)
}

// refusal returns why nothing can be appended. Called with mu held.
func (q *queue) refusal() error {
	switch {
	case q.err != nil:
		return q.err
	case !q.running || q.closing:
		return errNotOpen
	}
	return q.full
}

var errNotOpen = fmt.Errorf("%w: the log is not open", store.ErrReadOnly)

// waitForPlace waits until the queue has place for n bytes, and reports whether the disk is known to have room for them. An
// error says that they are refused.
func (q *queue) waitForPlace(n int64) (known bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		switch err := q.refusal(); {
		case err != nil:
			return false, err
		case !q.isFull() && q.hasPlace(n):
			q.updateAdmits()
			return q.queued+n <= q.grant, nil
		}
		q.changed.Wait()
	}
}

// hasPlace reports whether the queue has place for n bytes: a write may be larger than half of the queue, or all of it,
// if no more than half of that is taken. Called with mu held.
func (q *queue) hasPlace(n int64) bool { return q.queued+min(n, q.limit/2) <= q.limit }

// place returns nil if the queue has place, and the disk room, for n more bytes. Called with mu held.
func (q *queue) place(n int64) error {
	if err := q.refusal(); err != nil {
		return err
	}
	switch all := q.queued + n; {
	case !q.hasPlace(n):
	case all <= q.grant:
		return nil
	case q.short != nil:
		return q.refuse(q.short, n)
	}
	q.admits.Store(false) // whoever asks next looks closer
	return &store.NotAdmittedError{Size: n}
}

// refuse makes writes fail, for want of room, until there is room for need bytes. Called with mu held.
func (q *queue) refuse(cause error, need int64) error {
	q.need = max(q.need, min(need, q.ahead))
	if q.full == nil {
		q.full = fmt.Errorf("%w: no room on the disk, writes go on once there is: %w", store.ErrReadOnly, cause)
		q.news = true
		q.updateAdmits()
		q.changed.Broadcast()
		q.poke()
	}
	return q.full
}

// refuseUnless is refuse, unless there is room.
func (q *queue) refuseUnless(room bool, cause error, need int64) error {
	if room {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refuse(cause, need)
}

// bytes returns how many bytes are queued.
func (q *queue) bytes() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.queued
}

// narrow lets no more than n bytes be appended beyond those that are queued, until setRoom or finish says otherwise.
func (q *queue) narrow(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.grant = min(q.grant, q.queued+n)
	q.updateAdmits()
}

// room notes how much room there is: see short and grant. Called with mu held.
func (q *queue) room(short error, grant int64) {
	q.short, q.grant = short, grant
	if q.held == nil && (short == nil || grant-q.queued >= q.need) {
		q.full, q.need = nil, 0
	}
	q.updateAdmits()
	q.changed.Broadcast()
}

// isFull reports whether Admit is to wait. Half of the room that is granted is left to those who did not have to. Called with
// mu held.
func (q *queue) isFull() bool {
	return q.queued >= q.limit || q.short == nil && q.queued > q.grant/2
}

// updateAdmits brings admits up to date. Called with mu held.
func (q *queue) updateAdmits() {
	q.admits.Store(!q.isFull() && q.refusal() == nil)
}

// poke wakes the flusher.
func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// ask has the flusher do what r says.
func (q *queue) ask(r *request) error {
	r.done = make(chan struct{})
	q.mu.Lock()
	if err := q.err; err != nil || !q.running || q.closing {
		q.mu.Unlock()
		if err == nil {
			err = errNotOpen
		}
		return err
	}
	q.requests = append(q.requests, r)
	q.mu.Unlock()
	q.poke()
	<-r.done
	return r.err
}

// work is what the flusher takes at a time.
type work struct {
	batch    *batch // to be written; it may be empty
	requests []*request
	closing  bool
}

// syncs reports whether all that was appended is to be synced, whatever the policy.
func (w *work) syncs() bool {
	return w.closing || slices.ContainsFunc(w.requests, func(r *request) bool { return r.room == 0 })
}

// pace says how the flusher waits for work.
type pace struct {
	due    time.Time     // when it has something to do that nobody asks for; zero: it has not
	always bool          // policy Always: see gather
	yield  bool          // let all writers that can run go first: see letWrite
	took   time.Duration // how long the last sync took
}

// take waits until there is something to do, and returns it.
func (q *queue) take(p pace) work {
	var until time.Time // how long what waits may wait for more; zero: nothing did so far
	for {
		if p.yield {
			q.letWrite()
		}
		q.mu.Lock()
		waiting := q.open.writes > 0 && q.held == nil
		pause := linger
		if p.always {
			pause = q.gather(p.took)
		}
		if waiting && until.IsZero() {
			until = time.Now().Add(pause)
		}
		gathered := waiting && (pause == 0 || !time.Now().Before(until) || q.open.bytes >= frame.WriteChunk)
		due := !p.due.IsZero() && !time.Now().Before(p.due)
		if gathered || len(q.requests) > 0 || q.closing || q.news || due {
			if q.busy == nil {
				q.busy, q.open = q.open, newBatch()
			}
			w := work{q.busy, q.requests, q.closing}
			q.requests, q.news = nil, false
			q.mu.Unlock()
			return w
		}
		q.mu.Unlock()

		var timeout <-chan time.Time
		switch {
		case waiting:
			timeout = time.After(time.Until(until))
		case !p.due.IsZero():
			timeout = time.After(time.Until(p.due))
		}
		select {
		case <-q.wake:
		case <-timeout:
		}
	}
}

// letWrite lets all writers that can run go first, until none of them appends any more. The first to append wakes the flusher,
// which Go's scheduler runs next; where a sync keeps the others from running, it would sync for that one alone.
func (q *queue) letWrite() {
	for before := -1; ; {
		q.mu.Lock()
		n, full := q.open.writes, q.open.bytes >= frame.WriteChunk
		q.mu.Unlock()
		if n == 0 || n == before || full {
			return
		}
		before = n
		runtime.Gosched()
	}
}

// gather returns how long to wait, under policy Always, for a fuller batch than the open one. Those that the last sync
// answered will soon write again, and without a pause they would miss the next one: the writers would part into two halves,
// each waiting for the other's sync and for its own. A lone writer never waits. Called with mu held.
func (q *queue) gather(took time.Duration) time.Duration {
	if q.open.writes >= q.expected {
		return 0
	}
	return min(took/4, maxGather)
}

// setRoom publishes that grant more bytes, those of the batch in hand included, have room for certain; short is why not
// more, nil: there is enough.
func (q *queue) setRoom(short error, grant int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.room(short, grant)
}

// finish lets go on what waits for b, all of which was written. Under policy Always it is on the disk.
func (q *queue) finish(b *batch, always bool, short error, grant int64) {
	if always && b.writes > 0 {
		// All of b is on disk (W3): whoever reads this value, here or in Wait, may let out what is of this version or older.
		q.durable.Store(b.last)
	}
	q.mu.Lock()
	q.expected = (b.writes + q.open.writes) * 3 / 4 // not all of them, or each would wait for the slowest
	q.busy, q.held = nil, nil
	q.queued -= b.bytes
	b.release(&q.spare)
	q.room(short, grant)
	q.mu.Unlock()
	b.resolve(nil)
}

// hold keeps b, which found no room, to be written once there is, and with it all that was appended since. Nothing more
// is appended meanwhile, and whoever waits for these writes is told so.
func (q *queue) hold(b *batch, cause error) error {
	q.mu.Lock()
	q.held = cause
	err := q.refuse(cause, b.bytes)
	waits := fmt.Errorf("%w; this write takes effect once there is", err)
	open := q.open
	b.join(open)
	q.open = newBatch()
	q.mu.Unlock()
	b.resolve(waits)
	open.resolve(waits)
	return err
}

// fail makes all that waits, and all that comes, fail with err. failed says that it is a failure, and not the end.
func (q *queue) fail(w work, err error, failed bool) {
	q.mu.Lock()
	q.err = err
	if failed {
		q.failed = err
	}
	q.updateAdmits()
	open, requests := q.open, q.requests
	q.open, q.busy, q.requests, q.queued = newBatch(), nil, nil, 0
	q.changed.Broadcast()
	q.mu.Unlock()
	w.batch.resolve(err)
	open.resolve(err)
	for _, r := range append(w.requests, requests...) {
		r.resolve(err)
	}
}

// state returns why nothing is written any more, and why writes are refused for now; nil: they are not.
func (q *queue) state() (failed, full error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failed, q.full
}
