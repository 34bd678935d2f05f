package epoch

// Limbo is where what was unlinked waits for its grace period: a queue, in the order of the epochs. It has no lock; its owner
// has one.
type Limbo struct {
	// ring has the records from head on, size of them; its length is 0 or a power of two.
	ring  []retired
	head  int
	size  int
	bytes int64
}

type retired struct {
	what  uint64
	epoch uint64
}

// minRing is the shortest ring that is made, and the longest that is kept while it is empty.
const minRing = 64

// Retire puts an object of so many bytes, which nobody can find any more, behind the others. epoch is what Domain.Now was after
// it had been unlinked.
func (l *Limbo) Retire(what, epoch uint64, bytes int) {
	if l.size == len(l.ring) {
		l.resize(max(2*len(l.ring), minRing))
	}
	l.ring[(l.head+l.size)&(len(l.ring)-1)] = retired{what, epoch}
	l.size++
	l.bytes += int64(bytes)
}

// Drain calls free for what was retired with an epoch below safe, oldest first, at most for most objects. free returns the
// object's bytes, as they were given to Retire.
func (l *Limbo) Drain(safe uint64, most int, free func(what uint64) (bytes int)) {
	for ; most > 0 && l.size > 0 && l.ring[l.head].epoch < safe; most-- {
		what := l.ring[l.head].what
		l.head = (l.head + 1) & (len(l.ring) - 1)
		l.size--
		l.bytes -= int64(free(what))
	}
	if l.size == 0 && len(l.ring) > minRing {
		l.ring, l.head = nil, 0 // a pinned reader may have made it large
	}
}

// Ready reports whether at least n objects were retired with an epoch below safe.
func (l *Limbo) Ready(safe uint64, n int) bool {
	return l.size >= n && l.ring[(l.head+n-1)&(len(l.ring)-1)].epoch < safe
}

// Len returns how many objects wait.
func (l *Limbo) Len() int { return l.size }

// Bytes returns how many bytes they have together.
func (l *Limbo) Bytes() int64 { return l.bytes }

// All calls f for each object that waits, oldest first.
func (l *Limbo) All(f func(what uint64)) {
	for i := range l.size {
		f(l.ring[(l.head+i)&(len(l.ring)-1)].what)
	}
}

func (l *Limbo) resize(n int) {
	ring := make([]retired, n)
	for i := range l.size {
		ring[i] = l.ring[(l.head+i)&(len(l.ring)-1)]
	}
	l.ring, l.head = ring, 0
}
