package resp

import "bytes"

func setBit(c *call) {
	offset, ok := parseInt(c.args[2])
	if !ok || offset < 0 || offset>>3 >= int64(c.limits.bulk) {
		c.err("ERR bit offset is not an integer or out of range")
		return
	}
	if !bytes.Equal(c.args[3], []byte{'0'}) && !bytes.Equal(c.args[3], []byte{'1'}) {
		c.err("ERR bit is not an integer or out of range")
		return
	}
	e := c.Get(c.args[1])
	var v []byte
	if e.Exists() {
		v = e.Value()
	}
	at, mask := int(offset>>3), byte(0x80)>>(offset&7)
	was := at < len(v) && v[at]&mask != 0
	if on := c.args[3][0] == '1'; at >= len(v) || on != was {
		length := max(len(v), at+1)
		if !c.room(length) {
			return
		}
		changed := make([]byte, length)
		copy(changed, v)
		changed[at] &^= mask
		if on {
			changed[at] |= mask
		}
		c.Set(c.args[1], changed, c.expiry(e))
	}
	c.flag(was)
}

func getBit(c *call) {
	offset, ok := parseInt(c.args[2])
	if !ok || offset < 0 || offset>>3 >= int64(c.limits.bulk) {
		c.err("ERR bit offset is not an integer or out of range")
		return
	}
	v, _ := c.value(c.args[1])
	at := offset >> 3
	c.flag(at < int64(len(v)) && v[at]&(0x80>>(offset&7)) != 0)
}
