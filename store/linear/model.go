package linear

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"
)

// state is all keys at one instant.
type state [Keys]cell

// cell is one key. A deletion leaves its version behind: versions of a key only rise.
type cell struct {
	present bool
	value   string
	version uint64
	expires time.Duration // from when on it may have gone, since the history's beginning; 0: it does not
}

// unknownVersion is the version of a write that was not answered, until an answer tells it.
const unknownVersion = Untold

// current is the version that a condition is compared with.
func (c cell) current() uint64 {
	if !c.present {
		return 0
	}
	return c.version
}

// is reports whether the current version can be the one that an answer tells, and if so remembers it.
func (c *cell) is(version uint64) bool {
	if c.current() == unknownVersion && version != 0 {
		c.version = version
	}
	return c.current() == version
}

// plus returns what adding to c makes of it, false if it can't be added to.
func (c cell) plus(by int64) (sum string, ok bool) {
	n := int64(0)
	if c.present {
		var err error
		if n, err = strconv.ParseInt(c.value, 10, 64); err != nil {
			return "", false
		}
	}
	return strconv.FormatInt(n+by, 10), true // no value of the generator is near the end of 64 bits
}

// mostOpen is how many requests without an answer can be late; any more are put in any place.
const mostOpen = 256

// open are those of the late requests that have been called, and have not taken effect.
type open [mostOpen / 64]uint64

func (o *open) add(i int)      { o[i/64] |= 1 << (i % 64) }
func (o *open) remove(i int)   { o[i/64] &^= 1 << (i % 64) }
func (o *open) has(i int) bool { return o[i/64]&(1<<(i%64)) != 0 }

// lost is the answer that did not come.
var lost = Response{Unknown: true}

// moment is a state, and what else decides how it may go on.
type moment struct {
	state
	rank int // of what was written last
	open open
}

// model is what a store does that is in one of some states. The requests late are those that [announcement] is about.
// With greedy, states that differ only in which of them are still open are taken for one: with nearly all it makes no
// difference, and there are far fewer.
func model(from []moment, late []Request, greedy bool) porcupine.Model {
	seed := maphash.MakeSeed()
	return (&porcupine.NondeterministicModel{
		Init: func() (all []any) {
			for _, m := range from {
				all = append(all, m)
			}
			return all
		},
		Step: func(s, input, output any) (next []any) {
			m := s.(moment)
			if a, ok := input.(announcement); ok {
				m.open.add(int(a))
				return []any{m}
			}
			q, r := input.(Request), output.(Response)
			rank := m.rank
			if r.rank != 0 {
				if rank++; r.rank != rank {
					return nil
				}
			}
			for _, after := range explain(m, late, q, r) {
				after.rank = rank
				next = append(next, after)
			}
			return next
		},
		Equal: func(a, b any) bool {
			x, y := a.(moment), b.(moment)
			return x.state == y.state && (greedy || x.open == y.open)
		},
		Hash:              func(s any) uint64 { return maphash.Comparable(seed, s.(moment).state) },
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}).ToModel()
}

// mostLate is how many of the open requests are looked for that explain an answer together.
const mostLate = 3

// explain returns what m becomes by q with the answer r: after as few as possible of the open requests have taken
// effect first, none if none is needed.
func explain(m moment, late []Request, q Request, r Response) (all []moment) {
	const most = 100 // further ones are not looked at
	before := []moment{m}
	for n := 0; len(all) == 0 && n <= mostLate; n++ {
		var further []moment
		for _, m := range before {
			var why keySet
			for _, s := range expire(m.state, q, r) {
				after, wrong := apply(s, q, r)
				if wrong == nothing {
					all = append(all, moment{after, 0, m.open})
				} else if wrong&hopeless == 0 {
					why |= wrong
				}
			}
			if len(all) == 0 && len(further) < most {
				further = m.without(further, late, why)
			}
		}
		before = further
	}
	return all
}

// without appends what m becomes by each of its open requests that changes one of some keys.
func (m moment) without(all []moment, late []Request, keys keySet) []moment {
	for i, q := range late {
		if !m.open.has(i) || q.keys()&keys == 0 {
			continue
		}
		for _, s := range expire(m.state, q, lost) {
			if after, _ := apply(s, q, lost); after != m.state {
				next := moment{after, 0, m.open}
				next.open.remove(i)
				if !slices.ContainsFunc(all, func(one moment) bool { return one.state == after }) {
					all = append(all, next)
				}
			}
		}
	}
	return all
}

// expire returns the states that s may have become by the time that q takes effect: of its keys whose time may have
// come, each has gone or not.
func expire(s state, q Request, r Response) []state {
	var asked [Keys]bool
	for _, c := range q.Conditions {
		asked[c.Key] = true
	}
	for _, step := range q.Steps {
		asked[step.Key] = true
	}
	all := []state{s}
	for k, c := range s {
		if !asked[k] || !c.present || c.expires == 0 || !r.Unknown && r.Received < c.expires {
			continue
		}
		for _, one := range all {
			one[k] = cell{version: c.version}
			all = append(all, one)
		}
	}
	return all
}

// keySet are some keys, as bits.
type keySet uint8

const (
	nothing  keySet = 0
	hopeless keySet = 1 << 7 // besides: nothing that had no answer can have done it
)

func (q Request) keys() (all keySet) {
	for _, c := range q.Conditions {
		all |= 1 << c.Key
	}
	for _, s := range q.Steps {
		all |= 1 << s.Key
	}
	return all
}

// apply does what q asks for to s, and returns nothing if r is what it then has to be answered, else keys at which it
// is not. Where it can't be known whether a request without an answer was applied, it was: that it was not is the same
// as that it came last.
func apply(s state, q Request, r Response) (state, keySet) {
	if wrong, decided := conditions(&s, q, r); decided {
		return s, wrong
	}
	version := r.Version
	if r.Unknown && version == 0 {
		version = unknownVersion
	}
	before, existed, wrote := s, 0, false
	for i, step := range q.Steps {
		c, here := &s[step.Key], keySet(1<<step.Key)
		switch step.Kind {
		case Get:
			if !r.Unknown && !tells(r.Results[i], c) {
				if r.Results[i].Found && far(c, r.Results[i].Value) {
					here |= hopeless
				}
				return s, here
			}
		case Set:
			*c, wrote = cell{present: true, value: step.Value, version: version}, true
			if step.TTL != 0 {
				c.expires = max(q.Sent+step.TTL, 1)
			}
		case Incr:
			sum, ok := c.plus(step.By)
			if !ok && (r.Refused || r.Unknown) {
				return s, nothing
			}
			if !ok || !r.Unknown && (r.Refused || r.Results[i].Value != sum) {
				if !r.Refused && far(c, r.Results[i].Value) {
					here |= hopeless
				}
				return s, here
			}
			*c, wrote = cell{present: true, value: sum, version: version, expires: c.expires}, true
		case Del:
			if q.Kind == Txn && !r.Unknown && r.Results[i].Existed != c.present {
				return s, here
			}
			if c.present {
				existed++
				*c, wrote = cell{version: version}, true
			}
		}
	}
	if r.Unknown {
		return s, nothing
	}
	if q.Kind == Del && r.Existed != existed || wrote != (r.Version != 0) {
		return s, q.keys()
	}
	for k := range s {
		if s[k] != before[k] && before[k].version != unknownVersion && s[k].version < before[k].version {
			return s, 1<<k | hopeless
		}
	}
	return s, nothing
}

// conditions reports whether q's conditions decide what becomes of it with the answer r, and then at which keys that is
// not the answer: where one does not hold, or was said not to, s stays as it is.
func conditions(s *state, q Request, r Response) (wrong keySet, decided bool) {
	for i, c := range q.Conditions {
		now := &s[c.Key]
		if r.Unknown {
			if v := now.current(); v != c.Version && (v != unknownVersion || c.Version == 0) {
				if r.Version != 0 {
					return 1 << c.Key, true // it was applied
				}
				return nothing, true
			}
			continue
		}
		if r.Conflict && r.Index == i {
			if r.Version != c.Version && now.is(r.Version) {
				return nothing, true
			}
			return 1 << c.Key, true
		}
		if !now.is(c.Version) {
			return 1 << c.Key, true
		}
	}
	if r.Conflict {
		return q.keys(), true
	}
	return nothing, false
}

// far reports whether a value is one that no few requests which add or delete can have made of c.
func far(c *cell, value string) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return !c.present || c.value != value
	}
	const near = 3 * mostLate
	have, err := strconv.ParseInt(c.value, 10, 64)
	return (n < -near || n > near) && (err != nil || n < have-near || n > have+near)
}

// tells reports whether r is what reading c is answered.
func tells(r Result, c *cell) bool {
	if !r.Found || !c.present {
		return r.Found == c.present
	}
	return r.Value == c.value && (r.Version == 0 || c.is(r.Version))
}
