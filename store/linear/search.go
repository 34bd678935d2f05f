package linear

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"
)

// Check returns nil if the history can be explained. It gives up after some times the timeout, which is an error too.
//
// It looks at what is between two moments at which no request is outstanding by itself, from all states that what is
// before it can end in. So what it needs does not grow with the length of a history that has such moments, of which
// each is as exact as the whole: see [Options.Meet].
func Check(history []porcupine.Operation, timeout time.Duration) error {
	from := []moment{{}}
	var window []porcupine.Operation
	windows, patience := cut(history), timeout
	for i, next := range windows {
		if window = append(window, next...); patience <= 0 {
			continue
		}
		begin := time.Now()
		switch to, ok := ends(from, window, timeout/20); {
		case !ok: // together with the next
			patience -= time.Since(begin)
		case len(to) == 0:
			return wrong(window, history)
		case i == len(windows)-1:
			return nil
		default:
			from, window = to, nil
		}
	}
	return decide(from, window, history, timeout)
}

// wrong is the error for a history of which a window can't be explained.
func wrong(window, history []porcupine.Operation) error {
	return fmt.Errorf("no order of the %d requests explains their answers, of the %d from tick %d on",
		len(history), len(window), window[0].Call)
}

// decide returns nil if the last window of a history can be explained.
//
// It walks through the orders in which what had no answer is late first. Then porcupine looks for one, with what most
// histories have in common, and with the others' when there is none: see [search].
func decide(from []moment, window, history []porcupine.Operation, timeout time.Duration) error {
	tries := []search{{versions: true, late: true, greedy: true}, {versions: true, late: true}, {late: true},
		{versions: true}, {}}
	if explained(from, window, timeout/20) {
		return nil
	}
	none := make(map[search]bool) // that have found that there is none
	for _, share := range []time.Duration{20, 5, 1} {
		for _, try := range tries {
			if none[try] {
				continue
			}
			some, late, ok := try.prepare(window)
			if !ok {
				continue
			}
			verdict := porcupine.CheckOperationsTimeout(model(from, late, try.greedy), some, timeout/share)
			none[try] = verdict == porcupine.Illegal
			switch {
			case verdict == porcupine.Ok:
				return nil
			case none[search{}]:
				return wrong(window, history)
			}
		}
	}
	return fmt.Errorf("%w: %d requests, %v", ErrUndecided, len(history), timeout)
}

// search is what is taken for granted of an order. One that is found is right in any case; that there is none is known
// if nothing was taken for granted.
type search struct {
	versions bool // the order of all that was written is that of the versions, of all keys together
	late     bool // what had no answer, and set nothing that was read, takes effect just before a request whose answer it is needed for, or never
	greedy   bool // of what is late it does not matter which has been needed so far
}

// prepare makes what is searched of a history, false: what was to be taken for granted is not so. It leaves out reads
// without an answer, which tell nothing.
//
// A request that sets a value which was read has taken effect by the time that the first read of it has returned. Every
// other one without an answer, if they are to be late, is announced when it is called, an instant that is no choice,
// and is from then on at hand for any request whose answer needs it. That loses nearly nothing: one that takes effect,
// with nothing that needs it before its keys are written again, can as well never take effect.
func (s search) prepare(history []porcupine.Operation) (some []porcupine.Operation, late []Request, ok bool) {
	read := make(map[string]int64)     // when what came of a value that was set was read first
	version := make(map[string]uint64) // of a value that is no number: one that is may be a sum, too
	for _, op := range history {
		for _, result := range op.Output.(Response).Results {
			value := origin(result.Value)
			if back, seen := read[value]; !seen || op.Return < back {
				read[value] = op.Return
			}
			if result.Version != 0 && !isNumber(value) {
				version[value] = result.Version
			}
		}
	}
	for _, op := range history {
		q, r := op.Input.(Request), op.Output.(Response)
		op.Call, op.Return = 2*op.Call, 2*op.Return // there is room for announcements between
		if r.Unknown {
			if q.reads() {
				continue
			}
			noticed := false
			for _, s := range q.Steps {
				if back, seen := read[s.Value]; s.Kind == Set && seen {
					noticed = true
					op.Return = min(op.Return, 2*back)
					r.Version = max(r.Version, version[s.Value])
				}
			}
			if op.Output = r; !noticed && s.late && len(late) < mostOpen {
				op.Input, op.Return = announcement(len(late)), op.Call+1
				late = append(late, q)
			}
		}
		some = append(some, op)
	}
	return some, late, !s.versions || inOrder(some)
}

// inOrder has what was written be in the order of the versions, and narrows the times in which each request can have
// taken effect by what it has read, or others of it. It returns false if that leaves none.
func inOrder(history []porcupine.Operation) bool {
	var written []*porcupine.Operation // by version
	for i := range history {
		if r := history[i].Output.(Response); r.wrote() {
			written = append(written, &history[i])
		}
	}
	of := func(op *porcupine.Operation) uint64 { return op.Output.(Response).Version }
	slices.SortFunc(written, func(a, b *porcupine.Operation) int { return cmp.Compare(of(a), of(b)) })
	for i, op := range written {
		r := op.Output.(Response)
		if r.rank = i + 1; i > 0 && r.Version == of(written[i-1]) {
			return false
		}
		op.Output = r
	}
	type side struct{ of, before *porcupine.Operation } // of a read: what it has read, and what has been written over that; nil: it is not known
	reads := make(map[*porcupine.Operation][]side)
	for i := range history {
		for key, version := range seen(history[i]) {
			at, found := slices.BinarySearchFunc(written, version,
				func(op *porcupine.Operation, v uint64) int { return cmp.Compare(of(op), v) })
			var s side
			if found {
				s.of = written[at]
				at++
			}
			for ; at < len(written) && s.before == nil; at++ {
				if written[at].Input.(Request).sets(key) && written[at] != &history[i] {
					s.before = written[at]
				}
			}
			reads[&history[i]] = append(reads[&history[i]], s)
		}
	}
	first := func(a, b *porcupine.Operation) { // a takes effect before b
		if a != nil && b != nil && a != b {
			a.Return, b.Call = min(a.Return, b.Return), max(a.Call, b.Call)
		}
	}
	for range 4 {
		for i := range history {
			for _, s := range reads[&history[i]] {
				first(s.of, &history[i])
				first(&history[i], s.before)
			}
		}
		for i := 1; i < len(written); i++ {
			first(written[i-1], written[i])
		}
		for i := len(written) - 1; i > 0; i-- {
			first(written[i-1], written[i])
		}
	}
	return !slices.ContainsFunc(history, func(op porcupine.Operation) bool { return op.Call > op.Return })
}

// seen are the versions that keys were seen to have by a request that may have written none of them before.
func seen(op porcupine.Operation) map[int]uint64 {
	q, r := op.Input, op.Output.(Response)
	request, ok := q.(Request)
	all := make(map[int]uint64)
	switch {
	case !ok, r.Unknown:
	case r.Conflict && r.Version != 0:
		all[request.Conditions[r.Index].Key] = r.Version
	case request.reads():
		for i, s := range request.Steps {
			if r.Results[i].Version != 0 {
				all[s.Key] = r.Results[i].Version
			}
		}
	}
	return all
}

// wrote reports whether it is known which version what was written has.
func (r Response) wrote() bool { return !r.Conflict && r.Version != 0 && r.Version != Untold }

// sets reports whether the request sets a key, or adds to it.
func (q Request) sets(key int) bool {
	return slices.ContainsFunc(q.Steps, func(s Step) bool { return s.Key == key && (s.Kind == Set || s.Kind == Incr) })
}

// announcement is what stands in a history for the request with this number among those that are late.
type announcement int

// apart is how far apart numbers are that are set, so that a sum tells which of them was added to.
const apart = 1_000_000

// origin is the value that was set of which a value was made by adding to it.
func origin(value string) string {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return value
	}
	return strconv.FormatInt((n+apart/2)/apart*apart, 10)
}

func isNumber(s string) bool {
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil
}
