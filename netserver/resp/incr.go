package resp

import (
	"errors"
	"math/big"
	"strconv"

	"kv/store"
)

func incr(c *call) { c.add(1) }

func decr(c *call) { c.add(-1) }

func incrBy(c *call) {
	if by, ok := c.integer(2); ok {
		c.add(by)
	}
}

func decrBy(c *call) {
	by, ok := c.integer(2)
	switch {
	case !ok:
	case by == -by && by != 0: // the lowest number has no opposite
		c.err("ERR decrement would overflow")
	default:
		c.add(-by)
	}
}

func (c *call) add(by int64) {
	e := c.Get(c.args[1])
	text := []byte{'0'}
	if e.Exists() {
		text = e.Value()
	}
	sum, err := store.Sum(text, by)
	switch {
	case errors.Is(err, store.ErrOverflow):
		c.err("ERR increment or decrement would overflow")
	case err != nil:
		c.err(errNotInt)
	default:
		var digits [20]byte
		c.Set(c.args[1], strconv.AppendInt(digits[:0], sum, 10), c.expiry(e))
		c.int(sum)
	}
}

func incrByFloat(c *call) {
	e := c.Get(c.args[1])
	n, infinite := new(big.Float).SetPrec(floatBits), 0
	if e.Exists() {
		var ok bool
		if n, infinite, ok = parseFloat(e.Value()); !ok {
			c.err(errNotFloat)
			return
		}
	}
	by, infinite2, ok := parseFloat(c.args[2])
	if !ok {
		c.err(errNotFloat)
		return
	}
	var sum *big.Float
	if infinite == 0 && infinite2 == 0 {
		sum, ok = addFloats(n, by)
	}
	if sum == nil || !ok {
		c.err("ERR increment would produce NaN or Infinity")
		return
	}
	text := appendFloat(nil, sum)
	c.Set(c.args[1], text, c.expiry(e))
	c.bulk(text)
}

// previous answers what e held.
func (c *call) previous(e found) {
	if k, ok := c.keyspace.(*change); ok && !k.reading {
		k.read(e)
	}
	if e.Exists() {
		c.bulk(e.Value())
		return
	}
	c.null()
}
