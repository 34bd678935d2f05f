package resp

// keyspace is what a command on keys works on: keys as they are together at one instant.
type keyspace interface {
	// Get returns what key holds, valid until the command returns.
	Get(key []byte) found
	// Set gives key a value and an expiry in Unix milliseconds, 0: none. An expiry that has passed deletes the key.
	Set(key, value []byte, expiry uint64)
	// Delete deletes key and reports whether it existed.
	Delete(key []byte) (existed bool)
	// Expiry returns when what Get has found expires: what Set takes for the key to keep that. 0: never.
	Expiry(e found) uint64
	// Now is the clock, in Unix milliseconds, the same throughout.
	Now() uint64
}

// call is one run of a command on keys. The command may be run again from the start, with the answer taken back, if it
// could not be carried out: so it keeps nothing and does nothing but through its keyspace and its answer.
type call struct {
	keyspace
	*reply
	cmd    *Command
	args   [][]byte // the command's name is the first
	limits limits
	claim  func(n int) error // takes memory for the command's own use, until it is done; nil: there is enough
}

// arg returns the i-th argument, nil if there is none.
func (c *call) arg(i int) []byte {
	if i < len(c.args) {
		return c.args[i]
	}
	return nil
}

// The errors that several commands have.
const (
	errSyntax   = "ERR syntax error"
	errNotInt   = "ERR value is not an integer or out of range"
	errNotFloat = "ERR value is not a valid float"
	errTooLong  = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	errNoKey    = "ERR no such key"
)

// integer reads the i-th argument; if it is no number it answers that, and ok is false.
func (c *call) integer(i int) (n int64, ok bool) {
	if n, ok = parseInt(c.args[i]); !ok {
		c.err(errNotInt)
	}
	return n, ok
}

// fits reports whether a value may be so long; if not it answers that.
func (c *call) fits(length int64) bool {
	if length < 0 || length > int64(c.limits.bulk) {
		c.err(errTooLong)
		return false
	}
	return true
}

// room reports whether there is memory for n bytes that the command puts together; if not it answers that.
func (c *call) room(n int) bool {
	if n < longString || c.claim == nil {
		return true
	}
	if err := c.claim(n); err != nil {
		c.err(errorText(err))
		return false
	}
	return true
}

// expiryError is the answer to a time that can't be one.
func (c *call) expiryError() { c.err("ERR invalid expire time in '" + c.cmd.Name + "' command") }

// value returns what key holds; ok is false if it is absent.
func (c *call) value(key []byte) (v []byte, ok bool) {
	e := c.Get(key)
	if !e.Exists() {
		return nil, false
	}
	return e.Value(), true
}

// expiry is when what was found expires; 0: never, or it does not exist.
func (c *call) expiry(e found) uint64 {
	if !e.Exists() {
		return 0
	}
	return c.Expiry(e)
}
