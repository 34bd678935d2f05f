package table

import "kv/store/arena"

// Which entries are evicted when a cache is full: SIEVE (Zhang et al., "SIEVE is simpler than LRU", NSDI 2024). A hit marks
// the entry's place. A hand goes round: it takes the mark off an entry that has one, and evicts an entry that has none.
// Entries do not move. SIEVE's hand goes through the keys in the order in which they came; here each shard's hand goes in the
// order of the hashes, for which nothing has to be kept, so a new key may be met early or late. A key that was asked for
// once goes within a turn of the hand, however many such keys come; one that is in demand stays.
//
// The marks are the top bits of a line's first word, one for each place. A mark that is lost because a writer stores the
// word at the same time is a hit that did not count.

const (
	markShift   = 64 - places
	deletedMask = 1<<markShift - 1
)

// mark marks a place. The places of hot keys are marked already, and then nothing is written.
func (l line) mark(i int) {
	if w := l.deleted(); w.Load()>>(markShift+i)&1 == 0 {
		w.Or(1 << (markShift + i))
	}
}

// marked reports whether a place is marked.
func (l line) marked(i int) bool { return l.deleted().Load()>>(markShift+i)&1 != 0 }

// unmark takes the mark off.
func (l line) unmark(i int) { l.deleted().And(^(uint64(1) << (markShift + i))) }

// hand is where a shard's hand is.
type hand struct {
	at   uint64 // a hash, of the segment that it is in
	line int    // of that segment
	past int    // entries of the line that it has passed
}

// Victims calls f for entries that should be evicted, for as long as f returns true, and at most until the hand has gone
// round twice. The shard is locked and has no transaction under way; f does not write to it.
func (sh *Shard) Victims(f func(Entry) (more bool)) {
	t := sh.table
	base := uint64(sh.index) << (64 - shardBits)
	for turns, more := 0, true; more && turns < 3; {
		g := t.segment(t.word(base | sh.hand.at))
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
