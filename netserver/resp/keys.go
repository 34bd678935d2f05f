package resp

import (
	"bytes"
	"math"
)

// The commands on keys, whatever they hold.

func del(c *call) {
	n := int64(0)
	for _, key := range c.args[1:] {
		if c.Delete(key) {
			n++
		}
	}
	c.int(n)
}

func exists(c *call) {
	n := int64(0)
	for _, key := range c.args[1:] {
		if c.Get(key).Exists() {
			n++
		}
	}
	c.int(n)
}

// typeOf answers string: there is nothing else.
func typeOf(c *call) {
	if c.Get(c.args[1]).Exists() {
		c.simple("string")
		return
	}
	c.simple("none")
}

func expire(c *call)    { c.expire(1000, true) }
func pExpire(c *call)   { c.expire(1, true) }
func expireAt(c *call)  { c.expire(1000, false) }
func pExpireAt(c *call) { c.expire(1, false) }

// expire gives the key an expiry, in units of so many milliseconds, if the options hold. A time that has passed deletes it.
func (c *call) expire(unit int64, relative bool) {
	var nx, xx, gt, lt bool
	for _, word := range c.args[3:] {
		switch {
		case equalFold(word, "nx"):
			nx = true
		case equalFold(word, "xx"):
			xx = true
		case equalFold(word, "gt"):
			gt = true
		case equalFold(word, "lt"):
			lt = true
		default:
			c.err("ERR Unsupported option " + string(word))
			return
		}
	}
	switch {
	case nx && (xx || gt || lt):
		c.err("ERR NX and XX, GT or LT options at the same time are not compatible")
		return
	case gt && lt:
		c.err("ERR GT and LT options at the same time are not compatible")
		return
	}
	at, ok := c.integer(2)
	if !ok {
		return
	}
	base := int64(0)
	if relative {
		base = int64(c.Now())
	}
	if at > math.MaxInt64/unit || at < math.MinInt64/unit || at*unit > math.MaxInt64-base {
		c.expiryError()
		return
	}
	at = max(at*unit+base, 1) // 0 is no expiry; 1 is as long ago
	e := c.Get(c.args[1])
	if !e.Exists() {
		c.int(0)
		return
	}
	was := int64(min(c.Expiry(e), math.MaxInt64)) // 0: never
	if nx && was != 0 || xx && was == 0 || gt && (was == 0 || at <= was) || lt && was != 0 && at >= was {
		c.int(0)
		return
	}
	if at <= int64(c.Now()) {
		c.Delete(c.args[1])
		if k, ok := c.keyspace.(*change); ok {
			k.expired++
		}
	} else {
		c.Set(c.args[1], e.Value(), uint64(at))
	}
	c.int(1)
}

func persist(c *call) {
	e := c.Get(c.args[1])
	if c.expiry(e) == 0 {
		c.int(0)
		return
	}
	c.Set(c.args[1], e.Value(), 0)
	c.int(1)
}

func ttl(c *call)         { c.ttl(1000, true) }
func pTTL(c *call)        { c.ttl(1, true) }
func expireTime(c *call)  { c.ttl(1000, false) }
func pExpireTime(c *call) { c.ttl(1, false) }

// ttl answers when the key expires, in units of so many milliseconds; -1: never, -2: there is none.
func (c *call) ttl(unit int64, relative bool) {
	e := c.Get(c.args[1])
	switch {
	case !e.Exists():
		c.int(-2)
		return
	case c.Expiry(e) == 0:
		c.int(-1)
		return
	}
	at := int64(min(c.Expiry(e), math.MaxInt64))
	if relative {
		at = max(at-int64(c.Now()), 0)
	}
	if unit > 1 {
		at = at/unit + (at%unit+unit/2)/unit // rounded, without an overflow
	}
	c.int(at)
}

func rename(c *call) {
	if c.move(false) {
		c.ok()
	}
}

func renameNX(c *call) {
	if c.move(true) {
		c.int(1)
	}
}

// move gives the value and the expiry of one key to another; with nx only if that other key is absent. It returns false
// where it has answered with an error, or that nothing was moved.
func (c *call) move(nx bool) bool {
	from, to := c.args[1], c.args[2]
	e := c.Get(from)
	switch {
	case !e.Exists():
		c.err(errNoKey)
		return false
	case nx && c.Get(to).Exists():
		c.int(0)
		return false
	case !bytes.Equal(from, to):
		c.Set(to, e.Value(), c.Expiry(e))
		c.Delete(from)
	}
	return true
}

func copyTo(c *call) {
	replace := false
	for i := 3; i < len(c.args); i++ {
		switch {
		case equalFold(c.args[i], "replace"):
			replace = true
		case equalFold(c.args[i], "db") && i+1 < len(c.args):
			i++
			if n, ok := c.integer(i); !ok {
				return
			} else if n != 0 {
				c.err("ERR DB index is out of range")
				return
			}
		default:
			c.err(errSyntax)
			return
		}
	}
	from, to := c.args[1], c.args[2]
	if bytes.Equal(from, to) {
		c.err("ERR source and destination objects are the same")
		return
	}
	e := c.Get(from)
	if !e.Exists() || !replace && c.Get(to).Exists() {
		c.int(0)
		return
	}
	c.Set(to, e.Value(), c.Expiry(e))
	c.int(1)
}

func objectEncoding(c *call) {
	if v, ok := c.value(c.args[2]); ok {
		c.text(encoding(v))
		return
	}
	c.null()
}

// encoding is how Redis would keep a string that was set to this value at once.
func encoding(v []byte) string {
	if _, ok := parseInt(v); ok {
		return "int"
	}
	if len(v) <= 44 {
		return "embstr"
	}
	return "raw"
}

func objectRefCount(c *call) { c.ofObject(1) }

// objectIdleTime answers 0: nobody notes when a key is read.
func objectIdleTime(c *call) { c.ofObject(0) }

func (c *call) ofObject(n int64) {
	if c.Get(c.args[2]).Exists() {
		c.int(n)
		return
	}
	c.null()
}

func objectFreq(c *call) {
	if c.Get(c.args[2]).Exists() {
		c.err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
		return
	}
	c.null()
}

// keyMemory is about what a key takes besides its bytes and those of its value.
const keyMemory = 40

func memoryUsage(c *call) {
	switch {
	case len(c.args) == 3:
	case len(c.args) == 5 && equalFold(c.args[3], "samples"):
		if n, ok := c.integer(4); !ok {
			return
		} else if n < 0 {
			c.err(errSyntax)
			return
		}
	default:
		c.err(errSyntax)
		return
	}
	if e := c.Get(c.args[2]); e.Exists() {
		c.int(int64(len(e.Key()) + e.Len() + keyMemory))
		return
	}
	c.null()
}
