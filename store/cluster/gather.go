package cluster

import "time"

// mostSkipped is how many batches at most, as a power of two, do not wait after waiting was in vain.
const mostSkipped = 6

// gathering is what the next batch waits for, once the last one in flight is committed: that most of those write again
// who are answered now. Who writes all the time does so at once, and a batch costs, at all nodes together, what dozens
// of writes do. Were it proposed with what is there, such writers would come to be two groups, the one of which writes
// while the batch of the other is on its way: each batch would have half of them, and each of them would wait for two.
//
// That is in vain where they do not come back before it has waited twice as long as the last batch was on its way,
// which is the most; and where writers do not wait for answers: then as many come while a batch is on its way as at
// other times. After that the next 1, 3, 7 ... 63 batches do not wait. It is what commit_delay and commit_siblings are
// for in PostgreSQL, learned rather than set.
type gathering struct {
	some, want int           // how many records the next batch is to have: so as not to have waited in vain, and to wait no longer
	until      time.Duration // when it waits no longer; 0: it does not wait
	came       bool          // the last one that waited got some
	last       time.Duration // when the last batch in flight was committed last
	missed     int           // how often in a row waiting was in vain
	skip       int           // how many batches do not wait
}

// begin says that the last batch in flight is committed, which has so many records and took so long, and how many the
// next one has already.
func (g *gathering) begin(records, has int, now, took time.Duration) {
	cycle := now - g.last
	// Fewer came while it was on its way than three quarters of what does when as many come at any time; one that comes
	// by chance counts half.
	well := g.came && 2*int64(2*has+1)*int64(cycle) <= 3*int64(records)*int64(took)
	g.last, g.came = now, false
	switch {
	case g.skip > 1:
		g.skip--
		return
	case g.skip == 1: // it is tried again
		g.skip = 0
	case !well:
		g.missed = min(g.missed+1, mostSkipped)
		g.skip = 1 << g.missed
		return
	default:
		g.missed = 0
	}
	g.some, g.want, g.until = has+(records+3)/4, has+(7*records+7)/8, now+min(2*took, windowAge)
}

// holds reports whether a batch of so many records waits.
func (g *gathering) holds(records int, now time.Duration) bool {
	if g.until == 0 || records < g.want && now < g.until {
		return g.until != 0
	}
	g.until, g.came = 0, records >= g.some
	return false
}
