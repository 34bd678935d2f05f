package netserver

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kv/protocol"
)

// What connections hold while they do not wait is taken from two pools: requests from one, what is needed to answer them from
// the other (see output.go). Both are many times what an idle connection costs, and a client decides how much. So it is
// claimed before it is allocated.

// pool is memory that connections share. Who waits for some of it gets it in the order of coming.
type pool struct {
	limit   int64        // fixed
	used    atomic.Int64 // bytes; a count, publishes nothing
	waiting atomic.Int32 // the length of queue; changed with mu held. Not 0: take does not pass those who wait

	mu    sync.Mutex // guards queue
	queue []*poolWaiter
}

// poolWaiter waits for memory.
type poolWaiter struct {
	n     int64
	taken chan struct{} // closed once n bytes were taken for it
}

func newPool(limit int64) *pool { return &pool{limit: limit} }

// take takes n bytes, or returns false if they are not there, or others wait.
func (p *pool) take(n int64) bool { return p.waiting.Load() == 0 && p.takeNow(n) }

func (p *pool) takeNow(n int64) bool {
	// A plain Add, taken back if it was too much, would have others refused meanwhile.
	for {
		used := p.used.Load()
		if used+n > p.limit {
			return false
		}
		if p.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// give gives n bytes back.
func (p *pool) give(n int64) {
	p.used.Add(-n)
	if p.waiting.Load() > 0 {
		p.handOut()
	}
}

// handOut takes memory for those who wait, as far as it goes.
func (p *pool) handOut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 && p.takeNow(p.queue[0].n) {
		close(p.queue[0].taken)
		p.remove(0)
	}
}

// remove takes a waiter out of the queue. mu is held.
func (p *pool) remove(i int) {
	p.queue = slices.Delete(p.queue, i, i+1)
	p.waiting.Add(-1)
}

// await waits for n bytes. Each time that it has waited for look it calls short, and gives up if that returns false.
func (p *pool) await(n int64, look time.Duration, short func(waited time.Duration) bool) bool {
	w := &poolWaiter{n, make(chan struct{})}
	p.mu.Lock()
	p.queue = append(p.queue, w)
	p.waiting.Add(1)
	p.mu.Unlock()
	p.handOut() // what was given back before anybody waited
	begin := time.Now()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-w.taken:
			return true
		case <-tick.C:
		}
		if short(time.Since(begin)) {
			continue
		}
		p.mu.Lock()
		i := slices.Index(p.queue, w)
		if i >= 0 {
			p.remove(i)
		}
		p.mu.Unlock()
		p.handOut() // those behind it may need less
		return i < 0
	}
}

// claim is how many bytes a request holds of Config.RequestMemory: its frame while that arrives, and the lists that it is
// parsed into. It ends with the use of what it stands for, so a frame's after its answer has been sent: a client may know the
// answer a little earlier.
type claim int64

// claim takes n bytes for a request, or returns false if they are not there.
func (s *Server) claim(n int) (claim, bool) {
	if !s.requests.take(int64(n)) {
		return 0, false
	}
	return claim(n), true
}

// release gives a claim back. The zero claim may be released too.
func (s *Server) release(c claim) {
	if c != 0 {
		s.requests.give(int64(c))
	}
}

// errNoRoom is the answer to a request that could not claim what it needs.
var errNoRoom = &protocol.Error{Status: protocol.StatusOutOfMemory, Message: "no memory for a request of this size now"}
