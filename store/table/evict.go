package table

import "kv/store/arena"

// Which entries are to go when a cache is full: SIEVE's rule (Zhang et al., "SIEVE is simpler than LRU", NSDI 2024). A
// hit marks its place; a hand goes round, takes the mark off what has one, and lets what has none go. What stays does
// not move. SIEVE's hand goes through the keys in the order in which they came; here it goes through each shard in the
// order of the hashes, since nothing else has to be kept for that: a new key may be met early or late. So a key that is
// asked for once goes within a turn of the hand, however many of them come, and one that is asked for stays.
//
// The marks are the top bits of the first word of a line, a bit for each place. One that is lost, because a writer of the line
// came between, is a hit that did not count.

const (
	markShift   = 64 - places
	deletedMask = 1<<markShift - 1
)

// mark notes a hit at a place. Hot keys are marked already, and then nothing is written.
func (l line) mark(i int) {
	if w := l.deleted(); w.Load()>>(markShift+i)&1 == 0 {
		w.Or(1 << (markShift + i))
	}
}

// marked reports whether a place is marked.
func (l line) marked(i int) bool { return l.deleted().Load()>>(markShift+i)&1 != 0 }

// unmark takes the mark off.
func (l line) unmark(i int) { l.deleted().And(^(uint64(1) << (markShift + i))) }

// hand is where a shard's hand is: at a line of the segment of a hash.
type hand struct {
	at   uint64 // the hash
	line int
	past int // entries of the line that it has gone past
}

// Victims calls f for entries that are to go, as long as it returns true, and at most until the hand has gone round
// twice. The shard is locked, has no transaction under way, and is not written to by f.
func (sh *Shard) Victims(f func(Entry) (more bool)) {
	t := sh.table
	base := uint64(sh.index) << (64 - shardBits)
	for turns, more := 0, true; more && turns < 3; {
		d := t.directory(sh.root().Load())
		g := t.segment(d.word(d.index(base | sh.hand.at)).Load())
		if sh.hand.line < g.lines {
			n := 0
			t.each(g.line(sh.hand.line), func(in line, at int, ref arena.Ref) {
				if n++; n <= sh.hand.past || !more {
					return
				}
				sh.hand.past = n
				if in.marked(at) {
					in.unmark(at)
				} else {
					more = f(t.entry(ref))
				}
			})
			if more {
				sh.hand.line, sh.hand.past = sh.hand.line+1, 0
			}
			continue
		}
		next := (g.last(base|sh.hand.at) + 1) &^ (uint64(shardCount-1) << (64 - shardBits))
		if next <= sh.hand.at {
			next = 0
			turns++
		}
		sh.hand = hand{at: next}
	}
}
