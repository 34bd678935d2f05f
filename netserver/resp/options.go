package resp

import (
	"bytes"
	"encoding/hex"
	"math"

	"github.com/zeebo/xxh3"
)

// options are those of SET, and of the commands that have some of them.
type options struct {
	nx, xx, get, keepTTL, persist bool

	compare comparison // with what, if not with nothing
	with    []byte

	expire   []byte // the number behind EX, PX, EXAT or PXAT; nil: there is none
	unit     int64  // in milliseconds
	relative bool   // it counts from now
}

// comparison says how what a key holds is to be for a command to be done.
type comparison uint8

const (
	compareNothing comparison = iota
	compareEqual
	compareNotEqual
	compareDigestEqual
	compareDigestNotEqual
)

func comparisonOf(word []byte) comparison {
	switch {
	case equalFold(word, "ifeq"):
		return compareEqual
	case equalFold(word, "ifne"):
		return compareNotEqual
	case equalFold(word, "ifdeq"):
		return compareDigestEqual
	case equalFold(word, "ifdne"):
		return compareDigestNotEqual
	}
	return compareNothing
}

// digestSize is the length of a digest as text.
const digestSize = 16

// digest is what DIGEST says of a value.
func digest(v []byte) []byte {
	sum := xxh3.Hash(v)
	b := make([]byte, 0, digestSize)
	for shift := 56; shift >= 0; shift -= 8 {
		b = hex.AppendEncode(b, []byte{byte(sum >> shift)})
	}
	return b
}

// comparable reports whether what is to be compared with can be compared with; if not it answers that.
func (c *call) comparable(o options) bool {
	if o.compare != compareDigestEqual && o.compare != compareDigestNotEqual {
		return true
	}
	if _, err := hex.DecodeString(string(o.with)); err == nil && len(o.with) == digestSize {
		return true
	}
	c.err("ERR must be exactly 16 hexadecimal characters")
	return false
}

// holds reports whether what a key holds is as the options want it.
func (o options) holds(e found) bool {
	exists := e.Exists()
	if o.nx && exists || o.xx && !exists {
		return false
	}
	switch o.compare {
	case compareEqual:
		return exists && bytes.Equal(e.Value(), o.with)
	case compareNotEqual:
		return !exists || !bytes.Equal(e.Value(), o.with)
	case compareDigestEqual:
		return exists && bytes.EqualFold(digest(e.Value()), o.with)
	case compareDigestNotEqual:
		return !exists || !bytes.EqualFold(digest(e.Value()), o.with)
	}
	return true
}

// Which options a command has.
const (
	optIf      = 1 << iota // NX, XX
	optCompare             // IFEQ and the like
	optGet
	optKeepTTL
	optPersist

	optSet    = optIf | optCompare | optGet | optKeepTTL
	optMSetEX = optIf | optKeepTTL
	optGetEX  = optPersist
)

// options parses the options of a command, from its i-th argument on. Where it can't, it answers with the error.
func (c *call) options(i int, has int) (o options, ok bool) {
	for ; i < len(c.args); i++ {
		word, next := c.args[i], c.arg(i+1)
		compare := compareNothing
		if has&optCompare != 0 {
			compare = comparisonOf(word)
		}
		timed := o.expire != nil || o.keepTTL || o.persist
		switch {
		case has&optIf != 0 && equalFold(word, "nx") && !o.xx && o.compare == compareNothing:
			o.nx = true
		case has&optIf != 0 && equalFold(word, "xx") && !o.nx && o.compare == compareNothing:
			o.xx = true
		case compare != compareNothing && next != nil && !o.nx && !o.xx && o.compare == compareNothing:
			o.compare, o.with = compare, next
			if !c.comparable(o) {
				return o, false
			}
			i++
		case has&optGet != 0 && equalFold(word, "get"):
			o.get = true
		case has&optKeepTTL != 0 && equalFold(word, "keepttl") && o.expire == nil:
			o.keepTTL = true
		case has&optPersist != 0 && equalFold(word, "persist") && o.expire == nil:
			o.persist = true
		case next != nil && !timed && o.setExpire(word, next):
			i++
		default:
			c.err(errSyntax)
			return o, false
		}
	}
	return o, true
}

func (o *options) setExpire(word, number []byte) bool {
	switch {
	case equalFold(word, "ex"):
		o.unit, o.relative = 1000, true
	case equalFold(word, "px"):
		o.unit, o.relative = 1, true
	case equalFold(word, "exat"):
		o.unit = 1000
	case equalFold(word, "pxat"):
		o.unit = 1
	default:
		return false
	}
	o.expire = number
	return true
}

// expireAt returns when a key with these options expires, 0: never. If there is no such time it answers that.
func (c *call) expireAt(o options) (at uint64, ok bool) {
	if o.expire == nil {
		return 0, true
	}
	n, ok := parseInt(o.expire)
	if !ok {
		c.err(errNotInt)
		return 0, false
	}
	if n <= 0 || n > math.MaxInt64/o.unit {
		c.expiryError()
		return 0, false
	}
	if n *= o.unit; o.relative {
		n += int64(c.Now())
	}
	if n <= 0 { // it has overflowed
		c.expiryError()
		return 0, false
	}
	return uint64(n), true
}
