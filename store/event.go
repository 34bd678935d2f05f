package store

import "sync"

// Event happens once: that writes are durable, say. Who waits for it waits for Done, or is a Waiter and goes on meanwhile.
type Event struct {
	done chan struct{} // closed when it has happened

	mu       sync.Mutex // guards what follows
	happened bool
	waiters  []Waiter
}

// Waiter is who is told that an Event has happened.
type Waiter interface {
	// Happened is called once, by any goroutine. It waits for nothing.
	Happened()
}

// NewEvent returns one that has not happened.
func NewEvent() *Event { return &Event{done: make(chan struct{})} }

// Done is closed when the event has happened.
func (e *Event) Done() <-chan struct{} { return e.done }

// Notify has w told of the event. It returns false, and w is not told, if that has happened already.
func (e *Event) Notify(w Waiter) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.happened {
		e.waiters = append(e.waiters, w)
		return true
	}
	return false
}

// toldAtOnce is how many waiters a goroutine tells: one is far cheaper than as many as there are waiters, and where there
// are several cores, each tells some.
const toldAtOnce = 64

// Happen lets all go on. Called once. It waits for nothing.
func (e *Event) Happen() {
	close(e.done)
	e.mu.Lock()
	waiters := e.waiters
	e.happened, e.waiters = true, nil
	e.mu.Unlock()
	for len(waiters) > toldAtOnce {
		go tell(waiters[:toldAtOnce])
		waiters = waiters[toldAtOnce:]
	}
	tell(waiters)
}

func tell(waiters []Waiter) {
	for _, w := range waiters {
		w.Happened()
	}
}
