package cluster

import "sync"

// queue is unbounded, so adding never waits. Its length is bounded by how much Raft hands out before it hears that
// earlier work has ended.
type queue[T any] struct {
	mu    sync.Mutex // guards items
	items []T
	wake  chan struct{} // has something in it where items may have
}

func (q *queue[T]) init() { q.wake = make(chan struct{}, 1) }

func (q *queue[T]) add(x ...T) {
	if len(x) == 0 {
		return
	}
	q.mu.Lock()
	q.items = append(q.items, x...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take waits until there is something, and returns all of it; false: stop was closed.
func (q *queue[T]) take(stop <-chan struct{}) ([]T, bool) {
	for {
		select {
		case <-stop: // even where the queue is not empty: a failed node does nothing any more
			return nil, false
		default:
		}
		q.mu.Lock()
		items := q.items
		q.items = nil
		q.mu.Unlock()
		if len(items) > 0 {
			return items, true
		}
		select {
		case <-q.wake:
		case <-stop:
			return nil, false
		}
	}
}

// pop returns the first of a slice, and the rest. Its array does not hold the first any more: it may have megabytes.
func pop[T any](all []*T) (first *T, rest []*T) {
	first, all[0] = all[0], nil
	return first, all[1:]
}
