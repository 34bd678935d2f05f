package resp

// The commands on strings.

func get(c *call) {
	if v, ok := c.value(c.args[1]); ok {
		c.bulk(v)
		return
	}
	c.null()
}

// set is SET key value with any options.
func set(c *call) {
	o, ok := c.options(3, optSet)
	if !ok {
		return
	}
	put(c, c.args[1], c.args[2], o, (*reply).ok, (*reply).null)
}

// put gives key a value as o says, and answers done or not.
func put(c *call, key, value []byte, o options, done, not func(*reply)) {
	at, ok := c.expireAt(o)
	if !ok {
		return
	}
	e := c.Get(key)
	if !o.holds(e) {
		if !o.get {
			not(c.reply)
		} else {
			c.previous(e)
		}
		return
	}
	if o.keepTTL {
		at = c.expiry(e)
	}
	if o.get {
		c.previous(e) // before it is gone
	}
	c.Set(key, value, at)
	if !o.get {
		done(c.reply)
	}
}

func one(r *reply)  { r.int(1) }
func zero(r *reply) { r.int(0) }

func setNX(c *call) { put(c, c.args[1], c.args[2], options{nx: true}, one, zero) }

func setEX(c *call) {
	put(c, c.args[1], c.args[3], options{expire: c.args[2], unit: 1000, relative: true}, (*reply).ok, nil)
}

func pSetEX(c *call) {
	put(c, c.args[1], c.args[3], options{expire: c.args[2], unit: 1, relative: true}, (*reply).ok, nil)
}

func getSet(c *call) { put(c, c.args[1], c.args[2], options{get: true}, nil, nil) }

func getDel(c *call) {
	e := c.Get(c.args[1])
	c.previous(e)
	if e.Exists() {
		c.Delete(c.args[1])
	}
}

func getEX(c *call) {
	o, ok := c.options(2, optGetEX)
	if !ok {
		return
	}
	at, ok := c.expireAt(o)
	if !ok {
		return
	}
	e := c.Get(c.args[1])
	c.previous(e)
	switch {
	case !e.Exists():
	case o.expire != nil, o.persist && c.Expiry(e) != 0:
		c.Set(c.args[1], e.Value(), at)
	}
}

func mGet(c *call) {
	c.array(len(c.args) - 1)
	for _, key := range c.args[1:] {
		if v, ok := c.value(key); ok {
			c.bulk(v)
		} else {
			c.null()
		}
	}
}

// pairs reports whether the arguments behind the name are pairs; if not it answers that.
func (c *call) pairs() bool {
	if len(c.args)%2 == 0 {
		c.err("ERR wrong number of arguments for '" + c.cmd.Name + "' command")
		return false
	}
	return true
}

func mSet(c *call) {
	if c.pairs() {
		c.setAll(c.args[1:], options{})
		c.ok()
	}
}

func mSetNX(c *call) {
	if c.pairs() {
		c.setAllIf(c.args[1:], options{nx: true})
	}
}

// mSetEX is MSETEX numkeys key value … options: the condition is one for all keys.
func mSetEX(c *call) {
	n, ok := parseInt(c.args[1])
	if !ok || n < 1 || n > maxArgs {
		c.err("ERR invalid numkeys value or out of range")
		return
	}
	if 2+2*n > int64(len(c.args)) {
		c.err(errSyntax)
		return
	}
	if o, ok := c.options(int(2+2*n), optMSetEX); ok {
		c.setAllIf(c.args[2:2+2*n], o)
	}
}

func mSetEXKeys(args [][]byte) (first, last, step int) {
	n, ok := parseInt(args[1])
	if !ok || n < 1 || 2+2*n > int64(len(args)) {
		return 0, 0, 0
	}
	return 2, int(2 * n), 2
}

// setAllIf sets the pairs, if o holds for all of them.
func (c *call) setAllIf(pairs [][]byte, o options) {
	if _, ok := c.expireAt(o); !ok { // whether o holds or not
		return
	}
	for i := 0; i < len(pairs); i += 2 {
		if (o.nx || o.xx) && o.nx == c.Get(pairs[i]).Exists() {
			c.int(0)
			return
		}
	}
	if c.setAll(pairs, o) {
		c.int(1)
	}
}

func (c *call) setAll(pairs [][]byte, o options) bool {
	at, ok := c.expireAt(o)
	if !ok {
		return false
	}
	for i := 0; i < len(pairs); i += 2 {
		if o.keepTTL {
			at = c.expiry(c.Get(pairs[i]))
		}
		c.Set(pairs[i], pairs[i+1], at)
	}
	return true
}

// delIf deletes the key if what it holds is as the condition says.
func (c *call) delIf(o options) {
	e := c.Get(c.args[1])
	if e.Exists() && o.holds(e) {
		c.Delete(c.args[1])
		c.int(1)
		return
	}
	c.int(0)
}

func delIfEQ(c *call) { c.delIf(options{compare: compareEqual, with: c.args[2]}) }

// delEX is DELEX key with a condition, or none.
func delEX(c *call) {
	var o options
	switch len(c.args) {
	case 2:
	case 4:
		if o.compare = comparisonOf(c.args[2]); o.compare == compareNothing {
			c.err("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE")
			return
		}
		if o.with = c.args[3]; !c.comparable(o) {
			return
		}
	default:
		c.err("ERR wrong number of arguments for 'delex' command")
		return
	}
	c.delIf(o)
}

// digestOf answers a hash of the value, XXH3 of 64 bits, for IFDEQ.
func digestOf(c *call) {
	if v, ok := c.value(c.args[1]); ok {
		c.bulk(digest(v))
		return
	}
	c.null()
}

func appendTo(c *call) {
	v, exists := c.value(c.args[1])
	if exists && !c.fits(int64(len(v))+int64(len(c.args[2]))) {
		return
	}
	if !c.room(len(v) + len(c.args[2])) {
		return
	}
	joined := append(append(make([]byte, 0, len(v)+len(c.args[2])), v...), c.args[2]...)
	c.Set(c.args[1], joined, c.expiry(c.Get(c.args[1])))
	c.int(int64(len(joined)))
}

func strLen(c *call) {
	if e := c.Get(c.args[1]); e.Exists() {
		c.int(int64(e.Len()))
		return
	}
	c.int(0)
}

func getRange(c *call) {
	start, ok := c.integer(2)
	if !ok {
		return
	}
	end, ok := c.integer(3)
	if !ok {
		return
	}
	v, _ := c.value(c.args[1])
	from, to := span(start, end, int64(len(v)))
	c.bulk(v[from:to])
}

// span is which bytes of a string of n bytes GETRANGE means with these two, which count from the end if they are negative.
func span(start, end, n int64) (from, to int64) {
	if start < 0 && end < 0 && start > end {
		return 0, 0
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	end = min(end, n-1)
	if start > end {
		return 0, 0
	}
	return start, end + 1
}

func setRange(c *call) {
	offset, ok := c.integer(2)
	if !ok {
		return
	}
	if offset < 0 {
		c.err("ERR offset is out of range")
		return
	}
	v, _ := c.value(c.args[1])
	if len(c.args[3]) == 0 {
		c.int(int64(len(v)))
		return
	}
	if !c.fits(offset + int64(len(c.args[3]))) {
		return
	}
	length := max(len(v), int(offset)+len(c.args[3]))
	if !c.room(length) {
		return
	}
	changed := make([]byte, length)
	copy(changed, v)
	copy(changed[offset:], c.args[3])
	c.Set(c.args[1], changed, c.expiry(c.Get(c.args[1])))
	c.int(int64(len(changed)))
}
