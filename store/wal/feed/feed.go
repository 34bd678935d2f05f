// Package feed passes on what is written to a store: each write whole, in the order of versions, to any number of
// subscribers. No writer ever waits for one of them: a subscriber that falls too far behind is told so, and gets
// nothing more.
package feed

import (
	"context"
	"errors"
	"slices"
	"sync"

	"kv/store"
)

// ErrBehind is the error of a subscription that fell behind by more than it may: what it has not taken is lost to it.
var ErrBehind = errors.New("more was written than the subscriber may be behind")

// ErrClosed is the error of a subscription that was closed.
var ErrClosed = errors.New("the subscription is closed")

// Record is what one write left of each key that it changed.
type Record struct {
	Version uint64
	Entries []*store.Entry // which do not have their version, and may be none; neither they nor the slice may be changed
}

// Feed has the records that were added and that a subscriber still has to take. Each is there once, however many wait for it.
type Feed struct {
	mu *sync.Mutex // the journal's, that orders its writes; guards all that is here, and in the subscriptions

	last *node           // the newest; what is added next follows it
	end  int64           // the size of all that was added
	subs []*Subscription // the open ones
}

// node is a record in the list of all. Subscriptions point to the last that they have taken, so what all have taken is
// the collector's.
type node struct {
	Record
	end  int64 // Feed.end, with it
	next *node // nil: it is the newest
}

// Overhead is about what a record takes here besides its entries' Size.
const Overhead = 96

// New makes a feed that mu guards: the mutex under which the journal gives versions out.
func New(mu *sync.Mutex) *Feed { return &Feed{mu: mu, last: new(node)} }

// Followed reports whether there is a subscription. Called with the mutex held.
func (f *Feed) Followed() bool { return len(f.subs) > 0 }

// Add passes a record on. The slice stays the caller's. Called with the mutex held, in the order of versions.
func (f *Feed) Add(version uint64, entries []*store.Entry) {
	if len(f.subs) == 0 {
		return
	}
	f.end += Overhead
	for _, e := range entries {
		f.end += int64(e.Size())
	}
	n := &node{Record: Record{version, store.Clones(entries)}, end: f.end}
	f.last.next, f.last = n, n
	for _, s := range f.subs {
		if s.lost == nil && f.end-s.taken.end > s.limit {
			s.lost, s.taken = ErrBehind, nil
		}
		s.wake()
	}
}

// Break ends all subscriptions with an error: what follows does not go with what they have had. Called with the mutex held.
func (f *Feed) Break(err error) {
	for _, s := range f.subs {
		if s.lost == nil {
			s.lost, s.taken = err, nil
		}
		s.wake()
	}
}

// wake has Next look again. Called with the mutex held.
func (s *Subscription) wake() {
	if s.waits {
		s.waits = false
		s.ready <- struct{}{}
	}
}

// Subscription is one subscriber's place in a feed. One goroutine at a time may use it; any may close it.
type Subscription struct {
	// From is the version behind which the feed begins: every write of a higher one comes, and each that does not had
	// taken effect when the subscription was handed out. Fixed.
	From uint64

	feed  *Feed
	limit int64         // how many bytes it may be behind; fixed
	ready chan struct{} // of capacity 1: sent to by who takes waits back

	taken  *node // the last that was taken; nil: it was lost or closed
	lost   error // why it gets nothing more: it fell behind, say
	closed bool
	waits  bool // Next waits on ready
}

// Subscribe begins a subscription, with the next record that is added; from is the last version that was given out. It
// may be limit bytes behind, as entries' Size counts them, and Overhead for each record. All subscriptions together
// take no more memory than the one that is furthest behind. Called with the mutex held.
func (f *Feed) Subscribe(from uint64, limit int64) *Subscription {
	if len(f.subs) == 0 {
		f.last = &node{end: f.end} // what was added to others is not to be kept for this one
	}
	s := &Subscription{From: from, feed: f, limit: limit, ready: make(chan struct{}, 1), taken: f.last}
	f.subs = append(f.subs, s)
	return s
}

// Next returns all records that are there to be taken, one at least: it waits for that. The errors are ErrBehind,
// ErrClosed, Break's and the context's.
func (s *Subscription) Next(ctx context.Context) ([]Record, error) {
	for {
		s.feed.mu.Lock()
		all, err := s.take()
		s.waits = err == nil && len(all) == 0
		waits := s.waits
		s.feed.mu.Unlock()
		if !waits {
			return all, err
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
			s.feed.mu.Lock()
			if !s.waits { // somebody has sent meanwhile
				<-s.ready
			}
			s.waits = false
			s.feed.mu.Unlock()
			return nil, ctx.Err()
		}
	}
}

// Take returns what is there to be taken, maybe nothing. The errors are ErrBehind, ErrClosed and Break's.
func (s *Subscription) Take() ([]Record, error) {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	return s.take()
}

// Last is Take, and closes the subscription. Called with the mutex held: what the caller knows of the journal then is
// of the same instant.
func (s *Subscription) Last() ([]Record, error) {
	all, err := s.take()
	s.close()
	return all, err
}

func (s *Subscription) take() ([]Record, error) {
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.lost != nil:
		return nil, s.lost
	}
	var all []Record
	for n := s.taken.next; n != nil; n = n.next {
		all = append(all, n.Record)
		s.taken = n
	}
	return all, nil
}

// Close ends the subscription. Next, if it waits, is woken.
func (s *Subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	s.close()
}

func (s *Subscription) close() {
	if s.closed {
		return
	}
	s.closed, s.taken = true, nil
	f := s.feed
	f.subs = slices.DeleteFunc(f.subs, func(x *Subscription) bool { return x == s })
	if len(f.subs) == 0 {
		f.last = new(node)
		f.end = 0
	}
	s.wake()
}
