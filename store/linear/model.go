package linear

import (
	"fmt"
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

// moment is a state, and the newest version that was told by then.
type moment struct {
	state
	newest uint64
}

// model is what a store does. With inOrder, versions rise with the order of effect, as they do in most histories, all keys together: far fewer orders are to be
// tried.
func model(inOrder bool) porcupine.Model {
	return (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{moment{}} },
		Step: func(s, input, output any) (next []any) {
			q, r, m := input.(Request), output.(Response), s.(moment)
			newest := uint64(0)
			if inOrder {
				if newest = m.newest; !r.Unknown && !r.Conflict && r.Version != 0 && r.Version != Untold {
					if r.Version <= newest {
						return nil
					}
					newest = r.Version
				}
			}
			for _, before := range expire(m.state, q, r) {
				if after, ok := apply(before, q, r); ok {
					next = append(next, moment{after, newest})
				}
			}
			return next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}).ToModel()
}

// expire returns the states that s may have become by the time that q takes effect: of its keys whose time may have come, each has gone or not.
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

// apply does what q asks for to s, and reports whether r is what it then has to be answered. Where it can't be known whether
// a request without an answer was applied, it was: that it was not is the same as that it came last.
func apply(s state, q Request, r Response) (state, bool) {
	for i, c := range q.Conditions {
		now := &s[c.Key]
		if r.Unknown {
			if v := now.current(); v != c.Version && (v != unknownVersion || c.Version == 0) {
				return s, true
			}
			continue
		}
		if r.Conflict && r.Index == i {
			return s, r.Version != c.Version && now.is(r.Version)
		}
		if !now.is(c.Version) {
			return s, false
		}
	}
	if r.Conflict {
		return s, false
	}
	version := r.Version
	if r.Unknown {
		version = unknownVersion
	}
	before, existed, wrote := s, 0, false
	for i, step := range q.Steps {
		c := &s[step.Key]
		switch step.Kind {
		case Get:
			if !r.Unknown && !tells(r.Results[i], c) {
				return s, false
			}
		case Set:
			*c, wrote = cell{present: true, value: step.Value, version: version}, true
			if step.TTL != 0 {
				c.expires = max(q.Sent+step.TTL, 1)
			}
		case Incr:
			sum, ok := c.plus(step.By)
			if !ok {
				return s, r.Refused || r.Unknown
			}
			if !r.Unknown && (r.Refused || r.Results[i].Value != sum) {
				return s, false
			}
			*c, wrote = cell{present: true, value: sum, version: version, expires: c.expires}, true
		case Del:
			if q.Kind == Txn && !r.Unknown && r.Results[i].Existed != c.present {
				return s, false
			}
			if c.present {
				existed++
				*c, wrote = cell{version: version}, true
			}
		}
	}
	if r.Unknown {
		return s, true
	}
	if q.Kind == Del && r.Existed != existed || wrote != (r.Version != 0) {
		return s, false
	}
	for k := range s {
		if s[k] != before[k] && before[k].version != unknownVersion && s[k].version < before[k].version {
			return s, false
		}
	}
	return s, true
}

// tells reports whether r is what reading c is answered.
func tells(r Result, c *cell) bool {
	if !r.Found || !c.present {
		return r.Found == c.present
	}
	return r.Value == c.value && (r.Version == 0 || c.is(r.Version))
}
