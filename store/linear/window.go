package linear

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// cut cuts a history, in order of the calls, at each moment at which no request is outstanding: whatever is before it takes effect before what is behind it.
// A request without an answer is outstanding from then on, if it changes anything.
func cut(history []porcupine.Operation) (windows [][]porcupine.Operation) {
	sorted := slices.SortedStableFunc(slices.Values(history), func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
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

// mostEnds is how many states a window may end in; with more of them it is looked at together with the next.
const mostEnds = 64

// ends returns all states that a window which begins in one of some can end in, none if no order explains it; false: they are not known in time.
func ends(from []moment, window []porcupine.Operation, timeout time.Duration) (all []moment, ok bool) {
	tries := []search{{}}
	one := endsInOne(from, window)
	if one {
		tries = []search{{versions: true}, {}}
	}
	end := porcupine.Operation{Input: ending{}, Call: never - 2, Return: never - 1}
	for _, try := range tries {
		some, _, ok := try.prepare(window)
		if !ok {
			continue
		}
		var all []moment
		m := model(from, nil, false, func(m moment) bool {
			if m.rank = 0; !slices.Contains(all, m) {
				all = append(all, m)
			}
			return one || len(all) > mostEnds
		})
		switch porcupine.CheckOperationsTimeout(m, append(some, end), timeout) {
		case porcupine.Ok:
			return all, len(all) <= mostEnds
		case porcupine.Illegal: // no order is left: all ends were seen, if nothing was taken for granted
			if try == (search{}) {
				return all, true
			}
		}
	}
	return nil, false
}

// ending is what stands in a window behind all requests.
type ending struct{}

// endsInOne reports whether it is sure that all orders that explain a window end in the same state: in each of them a key has what was written to it with the
// highest version.
func endsInOne(from []moment, window []porcupine.Operation) bool {
	for _, c := range from[0].state {
		if len(from) > 1 || c.version == unknownVersion || c.expires != 0 {
			return false
		}
	}
	given := make(map[uint64]bool) // versions
	for _, op := range window {
		q, r := op.Input.(Request), op.Output.(Response)
		if r.wrote() && given[r.Version] || r.Unknown || r.Version == Untold {
			return false
		}
		given[r.Version] = true
		if q.Kind == Del && r.Existed != 0 && r.Existed != len(q.Steps) { // it is not known which of them
			return false
		}
		if slices.ContainsFunc(q.Steps, func(s Step) bool { return s.TTL != 0 }) {
			return false
		}
	}
	return true
}
