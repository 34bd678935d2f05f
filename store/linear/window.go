package linear

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// cut cuts a history, in order of the calls, at each moment at which no request is outstanding: whatever is before it
// takes effect before what is behind it. A request without an answer is outstanding from then on, if it changes
// anything.
func cut(history []porcupine.Operation) (windows [][]porcupine.Operation) {
	sorted := slices.SortedStableFunc(slices.Values(history),
		func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	begin, until := 0, int64(0)
	for i, op := range sorted {
		if i > begin && op.Call > until {
			windows = append(windows, sorted[begin:i])
			begin = i
		}
		if !op.Output.(Response).Unknown || !op.Input.(Request).reads() {
			until = max(until, op.Return)
		}
	}
	return append(windows, sorted[begin:])
}

// The most that is looked at of one window.
const (
	mostEnds  = 64
	mostSteps = 200_000
)

// walk goes through all orders of a window that explain its answers. It does so with far fewer steps than there are
// orders, and leaves none out:
//
//   - A request that wrote nothing, and tells nothing new, takes effect as soon as it can. In any order in which it comes later, it can as well come now.
//   - What writes a key comes behind what wrote an older version of it, and behind what saw an older one.
//   - What is left, from a state with the same requests left, is gone through once.
type walk struct {
	ops    []porcupine.Operation // by call
	late   []Request             // see search
	before [][]int               // of each, some that take effect before it
	been   map[spot]bool
	until  time.Time
	most   int // ends that are looked for
	ends   []moment
}

// spot is where a walk can be.
type spot struct {
	state
	open  open
	taken string // which have taken effect, as bits
}

// ends returns all states that a window which begins in one of some can end in, none if no order explains it; false:
// they are too many, or it took too long. A window with requests that had no answer is not for it.
func ends(from []moment, window []porcupine.Operation, timeout time.Duration) ([]moment, bool) {
	w := &walk{been: map[spot]bool{}, until: time.Now().Add(timeout), most: mostEnds}
	for _, op := range window {
		if !op.Output.(Response).Unknown {
			w.ops = append(w.ops, op)
		} else if !op.Input.(Request).reads() {
			return nil, false
		}
	}
	w.order()
	for _, m := range from {
		if !w.walk(m, make([]byte, (len(w.ops)+7)/8), 0) {
			return nil, false
		}
	}
	return w.ends, true
}

// explained reports whether an order explains a window, in which what had no answer may be late. If it finds none there
// may be one.
func explained(from []moment, window []porcupine.Operation, timeout time.Duration) bool {
	some, late, _ := search{late: true}.prepare(window)
	w := &walk{ops: some, late: late, been: map[spot]bool{}, until: time.Now().Add(timeout)}
	slices.SortStableFunc(w.ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	w.order()
	for _, m := range from {
		if !w.walk(m, make([]byte, (len(w.ops)+7)/8), 0) && len(w.ends) > 0 {
			return true
		}
	}
	return false
}

// order finds what versions tell of which comes before which.
func (w *walk) order() {
	w.before = make([][]int, len(w.ops))
	for key := range Keys {
		type one struct {
			version uint64
			op      int
			sees    uint64 // 1, or 0: it writes it
		}
		var all []one
		for i, op := range w.ops {
			if version, ok := seen(op)[key]; ok {
				all = append(all, one{version, i, 1})
			}
			if op.Output.(Response).wrote() && op.Input.(Request).sets(key) {
				all = append(all, one{op.Output.(Response).Version, i, 0})
			}
		}
		slices.SortStableFunc(all, func(a, b one) int { // what writes a version is before what sees it
			return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.sees, b.sees))
		})
		for i, a := range all {
			if a.sees == 1 {
				continue
			}
			for _, b := range slices.Backward(all[:i]) {
				if b.version < a.version && b.op != a.op {
					w.before[a.op] = append(w.before[a.op], b.op)
					if b.sees == 0 {
						break // what is before that one is before this one
					}
				}
			}
		}
	}
}

// walk goes on from a state, with those left that have not taken effect, the first of which is no earlier than first.
// It returns false if it gave up.
func (w *walk) walk(m moment, taken []byte, first int) bool {
	has := func(i int) bool { return taken[i/8]&(1<<(i%8)) != 0 }
	for {
		for first < len(w.ops) && has(first) {
			first++
		}
		if first == len(w.ops) {
			if !slices.Contains(w.ends, m) {
				w.ends = append(w.ends, m)
			}
			return len(w.ends) <= w.most
		}
		// Those that can be next: called before any that is left has returned.
		var next []int
		back := int64(never)
		for i := first; i < len(w.ops) && w.ops[i].Call <= back; i++ {
			if !has(i) {
				next = append(next, i)
				back = min(back, w.ops[i].Return)
			}
		}
		next = slices.DeleteFunc(next, func(i int) bool {
			return w.ops[i].Call > back || slices.ContainsFunc(w.before[i], func(b int) bool { return !has(b) })
		})
		after := make([][]moment, len(next))
		still := false
		for n, i := range next {
			if late, ok := w.ops[i].Input.(announcement); ok {
				m.open.add(int(late))
				taken[i/8] |= 1 << (i % 8)
				still = true
				break // what has been tried is of another moment
			}
			r := w.ops[i].Output.(Response)
			after[n] = explain(m, w.late, w.ops[i].Input.(Request), r)
			if !r.Unknown && (r.Conflict || r.Version == 0) && len(after[n]) == 1 && after[n][0] == m {
				taken[i/8] |= 1 << (i % 8)
				still = true
			}
		}
		if still {
			continue
		}
		here := spot{m.state, m.open, string(taken)}
		if w.been[here] {
			return true
		}
		if w.been[here] = true; len(w.been) > mostSteps || len(w.been)%1000 == 0 && time.Now().After(w.until) {
			return false
		}
		for n, i := range next {
			for _, m := range after[n] {
				further := slices.Clone(taken)
				further[i/8] |= 1 << (i % 8)
				if !w.walk(m, further, first) {
					return false
				}
			}
		}
		return true
	}
}
