package cluster

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxBatch is how many bytes of records a batch has, unless it is of one record.
	maxBatch = 1 << 20
	// windowAge is how old the newest batch in flight is before another one follows it. Where a majority answers faster
	// than that, one at a time is best: the next one grows meanwhile. Where it does not, there is one in so much time,
	// and not one for each write.
	windowAge = 5 * time.Millisecond
	// leastRoom is how many bytes a batch has room for at first, besides as many as the one before had.
	leastRoom = 1 << 10
	// maxWindow is how many bytes are in flight at a time.
	maxWindow = 16 << 20
)

// ErrUnknown is the error of a write that this node could not see the end of: it may have been applied, or may yet be.
var ErrUnknown = errors.New("leadership was lost while the write was under way: it may have been applied")

// NotLeaderError is the error of a write at a node that does not lead, or not yet: nothing was applied.
type NotLeaderError struct {
	Leader uint64 // who does; 0: nobody that this node knows of
}

func (e *NotLeaderError) Error() string {
	if e.Leader == 0 {
		return "there is no leader now: try again"
	}
	return fmt.Sprintf("node %d leads, not this one", e.Leader)
}

// Batch is what becomes one entry of the log.
type Batch struct {
	epoch   uint64
	number  uint64 // from 1, within the epoch; 0: it was not proposed
	data    []byte // room for the header, then the payload
	records int
	mark    uint64        // of its last record, with the lock of Proposals
	since   time.Duration // when it was proposed

	once sync.Once
	err  error         // published by done
	done chan struct{} // closed when it has been published, or never will be by this node's doing
}

// Epoch is that in which the batch was made.
func (b *Batch) Epoch() uint64 { return b.epoch }

// Done is closed once it is known what became of the batch.
func (b *Batch) Done() <-chan struct{} { return b.done }

// Err says what became of it, once Done is closed: nil, it has been published; ErrUnknown.
func (b *Batch) Err() error { return b.err }

// resolved reports whether Done is closed.
func (b *Batch) resolved() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

func (b *Batch) resolve(err error) {
	b.once.Do(func() {
		b.err = err
		close(b.done)
	})
}

// Proposals is where writers leave what is to be put into the log, and where the loop takes it: one batch at a time, while the
// next one grows.
type Proposals struct {
	wake func() // tells the loop that there is something to take; it does not wait

	// epoch is odd while Append is open, and rises whenever that changes (C2). It is written with mu held. A reader that has
	// seen that a version is published, and then the epoch in which it was given, knows that the version is that write's (C5).
	epoch  atomic.Uint64
	leader atomic.Uint64 // for NotLeaderError

	mu       sync.Mutex // guards what follows
	live     []*Batch   // all, in order, of which it is not known what became of them, and perhaps older ones
	queue    []*Batch   // not yet proposed; the last one is open
	inFlight []*Batch   // proposed, in order, and not yet handed out to be applied
	bytes    int        // of those in flight
	room     int        // that a new batch has
	number   uint64     // of the last one that was proposed in this epoch
	held     bool       // Append waits for leadership to be handed over
	gather   gathering  // when the next one is taken, with none in flight
}

// errHeld is the error of a write that is to wait until another node leads. Nothing was appended.
var errHeld = errors.New("leadership is being handed over")

// hold has Append fail with errHeld, or no more.
func (p *Proposals) hold(held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
}

// Epoch returns the present epoch. It is odd while Append is open.
func (p *Proposals) Epoch() uint64 { return p.epoch.Load() }

// Append has add append a record to the payload of the open batch, which it gets and returns, and returns the batch.
// What add does besides, such as to give the record its version, is under the same lock (C2). The mark that it returns
// names the record for Marked, and is no lower than that of those before. The error is a *NotLeaderError, and add was
// not called then.
func (p *Proposals) Append(add func(payload []byte) (_ []byte, mark uint64)) (*Batch, error) {
	p.mu.Lock()
	epoch := p.epoch.Load()
	if epoch%2 == 0 {
		p.mu.Unlock()
		return nil, &NotLeaderError{p.leader.Load()}
	}
	if p.held {
		p.mu.Unlock()
		return nil, errHeld
	}
	b := p.openBatch(epoch)
	before := len(b.data)
	data, mark := add(b.data)
	b.data = data
	b.records++
	if len(b.data) > batchHeader+maxBatch && b.records > 1 { // it does not fit: it is the first of the next one
		record := b.data[before:]
		b.data = b.data[:before:before]
		b.records--
		b = p.newBatch(epoch)
		b.data = append(b.data, record...)
		b.records = 1
	}
	b.mark = mark
	waits := p.gather.until != 0 && b.records > 1 && b.records < p.gather.want // the loop knows, since the first of them, until when
	p.mu.Unlock()
	if !waits {
		p.wake()
	}
	return b, nil
}

// openBatch returns the batch that the next record goes to. Called with mu held.
func (p *Proposals) openBatch(epoch uint64) *Batch {
	if n := len(p.queue); n > 0 && len(p.queue[n-1].data) < batchHeader+maxBatch {
		return p.queue[n-1]
	}
	return p.newBatch(epoch)
}

// newBatch opens another batch. Called with mu held.
func (p *Proposals) newBatch(epoch uint64) *Batch {
	b := &Batch{epoch: epoch, data: make([]byte, batchHeader, p.room), done: make(chan struct{})}
	p.forget()
	p.queue, p.live = append(p.queue, b), append(p.live, b)
	return b
}

// forget forgets batches of which it is known what became of them: not everything that is appended is waited for.
// Called with mu held.
func (p *Proposals) forget() {
	for len(p.live) > 0 && p.live[0].resolved() {
		_, p.live = pop(p.live)
	}
}

// Marked returns the batch that has the record with this mark, nil: it is none of this node's, or it is known what became of it.
func (p *Proposals) Marked(mark uint64) *Batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget()
	for _, b := range p.live {
		if b.mark >= mark {
			return b
		}
	}
	return nil
}

// Backlog returns how many bytes were appended and not yet handed out to be applied.
func (p *Proposals) Backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.bytes
	for _, b := range p.queue {
		n += len(b.data)
	}
	return n
}

// take returns the batch that is to be proposed now, nil: none is. It counts as in flight from here on.
func (p *Proposals) take(now time.Duration) *Batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return nil
	}
	b := p.queue[0]
	if p.gather.holds(b.records, now) {
		if len(p.queue) == 1 && !p.held {
			return nil
		}
		p.gather.until = 0
	}
	if len(p.inFlight) > 0 {
		full := len(p.queue) > 1 || len(b.data) >= batchHeader+maxBatch
		old := now-p.inFlight[len(p.inFlight)-1].since >= windowAge
		if !full && !old || p.bytes+len(b.data) > maxWindow {
			return nil
		}
	}
	_, p.queue = pop(p.queue)
	p.number++
	b.number, b.since = p.number, now
	p.room = leastRoom + min(len(b.data)+len(b.data)/4, maxBatch)
	p.inFlight = append(p.inFlight, b)
	p.bytes += len(b.data)
	return b
}

// untake puts back the batch that take returned last: the library did not accept it.
func (p *Proposals) untake(b *Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.inFlight = p.inFlight[:len(p.inFlight)-1]
	p.queue = append([]*Batch{b}, p.queue...)
	p.number--
	p.bytes -= len(b.data)
}

// match returns the batch in flight that an entry with this id, committed now, is, nil: it is none (C4). It is in
// flight no more. skipped says that older ones are, which the log does not have and never will: that can't be.
func (p *Proposals) match(id batchID, now time.Duration) (b *Batch, skipped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.inFlight) == 0 || p.inFlight[0].epoch != id.epoch {
		return nil, false
	}
	if b = p.inFlight[0]; b.number != id.number {
		return nil, true
	}
	_, p.inFlight = pop(p.inFlight)
	p.bytes -= len(b.data)
	if len(p.inFlight) == 0 {
		has := 0
		if len(p.queue) > 0 {
			has = p.queue[0].records
		}
		p.gather.begin(b.records, has, now, now-b.since)
	}
	return b, false
}

// open opens Append, in a new epoch.
func (p *Proposals) open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number = 0
	p.epoch.Add(1)
}

// close closes Append, and fails all that is under way. It reports whether it was open.
func (p *Proposals) close() bool {
	p.mu.Lock()
	if p.epoch.Load()%2 == 0 {
		p.mu.Unlock()
		return false
	}
	p.epoch.Add(1)
	lost := append(p.inFlight, p.queue...)
	p.inFlight, p.queue, p.live, p.bytes, p.gather = nil, nil, nil, 0, gathering{}
	p.mu.Unlock()
	for _, b := range lost {
		b.resolve(ErrUnknown)
	}
	return true
}

// due returns when take is to be called again although nobody appends, 0: not before somebody does.
func (p *Proposals) due() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.queue) == 0:
		return 0
	case len(p.inFlight) == 0:
		return p.gather.until
	}
	return p.inFlight[len(p.inFlight)-1].since + windowAge
}
