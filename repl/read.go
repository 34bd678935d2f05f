package repl

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"kv/protocol"
	"kv/repl/text"
)

func readCommands() []*command {
	return []*command{
		{
			name: "get", args: "KEY", min: 1, max: 1, keys: firstKey, inTxn: true,
			short: "Print the value of a key.",
			long: "Into a pipe or a file go the value's bytes, exactly. On a terminal a newline is added, and a value that is not printable UTF-8 is shown quoted and escaped. " +
				"A key that does not exist is exit code 1; in the shell and in scripts it is `(nil)`, and no error.",
			examples: []example{
				{"get greeting", "print its value"},
				{"get logo > logo.png", "any bytes, exactly"},
				{"get greeting --version $version", "the value that an earlier version had"},
				{"get greeting --json", "with its version and expiry"},
			},
			build: func(f flags) func(*call) error {
				var version uint64
				var raw bool
				flagVar(f, &version, "version", "", "V", "the value in this earlier version (see history)", parseVersion)
				f.bool(&raw, "raw", "", "the bytes as they are, all of them, even on a terminal")
				return func(c *call) error {
					return c.get(c.key(0), version, f.Changed("version"), raw)
				}
			},
		},
		{
			name: "mget", args: "KEY [KEY …] | -", min: 1, max: -1, keys: allKeys, inTxn: true,
			short: "Print the values of many keys, all of one instant.",
			long:  "One line a key, in the order asked: key, TAB, value in the text form (`help escaping`), `\\N` for a missing one. `-` reads the keys from stdin, one a line.",
			examples: []example{
				{"mget user:1 user:2", "two values of one instant"},
				{"scan user: | kvc mget - > users.txt", "all keys with a prefix"},
			},
			build: func(f flags) func(*call) error {
				end := terminator(f)
				return func(c *call) error { return c.mget(*end) }
			},
		},
		{
			name: "meta", args: "KEY", min: 1, max: 1, keys: firstKey,
			short: "Print the version, the expiry and the size of a key.",
			long:  "The expiry is in Unix milliseconds, or `none`. The version is what `set --if-version` takes.",
			examples: []example{
				{"meta counter", "three lines: version, expiry, size"},
				{"meta counter --json", "the same as one JSON object, with the value"},
			},
			build: func(flags) func(*call) error { return (*call).meta },
		},
		{
			name: "scan", args: "[PREFIX]", min: 0, max: 1, keys: firstKey,
			short: "Print the keys that begin with a prefix.",
			long:  "One a line, escaped, in no order that means anything. A key that is there all the time is printed exactly once; one that comes or goes meanwhile, once or not at all.",
			examples: []example{
				{"scan", "all keys"},
				{"scan user: --limit 10", "ten keys that begin with user:"},
				{"scan user: --values", "with their values, as mget prints them"},
			},
			build: func(f flags) func(*call) error {
				var limit int
				var values bool
				flagVar(f, &limit, "limit", "", "N", "no more than N keys", parseCount)
				f.bool(&values, "values", "", "their values too")
				end := terminator(f)
				return func(c *call) error { return c.scan(limit, values, *end) }
			},
		},
		{
			name: "count", args: "[PREFIX]", min: 0, max: 1, keys: firstKey,
			short: "Print how many keys begin with a prefix.",
			long:  "Without a prefix: how many there are. It reads all of these keys, not their values. A key that comes or goes meanwhile may count or not.",
			examples: []example{
				{"count", "all keys"},
				{"count user:", "those that begin with user:"},
			},
			build: func(flags) func(*call) error { return (*call).count },
		},
		{
			name: "history", args: "KEY", min: 1, max: 1, keys: firstKey,
			short: "Print the versions of a key that the server keeps, newest first.",
			long:  "One line a version: version, TAB, time, TAB, value in the text form, `\\N` for a deletion. How many are kept is the server's option `--history`, and for how long `--history-age`.",
			examples: []example{
				{"history config", "all that are kept"},
				{"history config --limit 2", "the two newest"},
			},
			build: func(f flags) func(*call) error {
				var limit int
				flagVar(f, &limit, "limit", "", "N", "no more than N versions", parseCount)
				end := terminator(f)
				return func(c *call) error { return c.history(uint32(limit), *end) }
			},
		},
	}
}

// terminator declares -0.
func terminator(f flags) *byte {
	end := byte('\n')
	parse := func(s string) (byte, error) {
		null, err := parseBool(s)
		if null {
			return 0, err
		}
		return '\n', err
	}
	f.VarPF(&flagValue[byte]{&end, parse, "bool"},
		"null", "0", "lines end with NUL instead of newline, both read and printed").NoOptDefVal = "true"
	return &end
}

func (c *call) get(key []byte, version uint64, atVersion, raw bool) error {
	var v protocol.Value
	var err error
	missing := error(notFoundError{shown(key)})
	switch {
	case c.txn != nil && atVersion:
		return usagef("get --version is not possible inside a transaction")
	case c.txn != nil && c.txn.oneRequest:
		c.txn.later([][]byte{key}, func(v []protocol.Value) { c.showGot(key, v[0], raw) })
		return nil
	case c.txn != nil:
		v, err = c.txn.get(c, key)
	default:
		kv, e := c.client()
		if e != nil {
			return e
		}
		if atVersion {
			v, err = kv.GetVersion(c.ctx, key, version)
		} else {
			v, err = kv.Get(c.ctx, key)
		}
		if errors.Is(err, protocol.ErrNotFound) {
			what := shown(key)
			if atVersion {
				what += " in version " + decimal(version)
			}
			missing, v, err = notFound(err, what), protocol.Value{}, nil
		}
	}
	if err != nil {
		return err
	}
	c.showGot(key, v, raw)
	if v.Found || c.mode != oneShot {
		return nil
	}
	return missing
}

// showGot prints what a get found. That a command found nothing is for its caller to report.
func (c *call) showGot(key []byte, v protocol.Value, raw bool) {
	switch {
	case c.opts.json:
		c.jsonValue(key, v)
		c.out.WriteByte('\n')
	case v.Found:
		c.printValue(v.Data, raw)
	case c.mode != oneShot:
		c.printNil()
	}
}

func (c *call) mget(end byte) error {
	keys, err := c.keys(end)
	if err != nil {
		return err
	}
	var values []protocol.Value
	if c.txn != nil && c.txn.oneRequest {
		c.txn.later(keys, func(values []protocol.Value) { c.printValues(keys, values, end) })
		return nil
	}
	if c.txn != nil {
		values, err = c.txn.mget(c, keys)
	} else {
		kv, e := c.client()
		if e != nil {
			return e
		}
		values, err = kv.MGet(c.ctx, keys...)
	}
	if err != nil {
		return tooMuch(err, "scan PREFIX --values prints any number of values, though not of one instant")
	}
	c.printValues(keys, values, end)
	return nil
}

// printValues prints the result of an mget.
func (c *call) printValues(keys [][]byte, values []protocol.Value, end byte) {
	list := jsonList{s: c.session}
	for i, key := range keys {
		if c.opts.json {
			list.next()
			c.jsonValue(key, values[i])
		} else {
			c.printPair(key, values[i], end)
		}
	}
	if c.opts.json {
		list.close()
	}
}

// keys are the arguments as keys, or the lines of stdin where the argument is "-".
func (c *call) keys(end byte) ([][]byte, error) {
	var keys [][]byte
	for _, a := range c.args {
		if !a.stdin() {
			keys = append(keys, a.b)
			continue
		}
		if len(c.args) > 1 {
			return nil, usagef(`- for stdin stands alone; write -- before it where it is a key`)
		}
		if err := c.mayReadStdin(); err != nil {
			return nil, err
		}
		in := text.NewReader(c.stdin(), end)
		for {
			key, err := in.Key()
			if err == io.EOF {
				return keys, nil
			}
			if err != nil {
				return nil, fileError{err}
			}
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// mayReadStdin fails where stdin is what the commands themselves come from.
func (c *call) mayReadStdin() error {
	if c.mode != oneShot {
		return usagef(`- for stdin is not possible here, where commands are read; quote it ("-") where it is meant as it is`)
	}
	return nil
}

func (c *call) meta() error {
	kv, err := c.client()
	if err != nil {
		return err
	}
	key := c.key(0)
	v, err := kv.Get(c.ctx, key)
	if err != nil {
		if c.opts.json && errors.Is(err, protocol.ErrNotFound) {
			c.jsonMissing(key)
		}
		return notFound(err, shown(key))
	}
	if c.opts.json {
		c.jsonValue(key, v)
		c.out.WriteByte('\n')
		return nil
	}
	fmt.Fprintf(c.out, "version %d\n", v.Version)
	switch {
	case v.Expiry == 0:
		fmt.Fprintln(c.out, "expiry none")
	case c.quoting():
		left := time.Until(time.UnixMilli(int64(min(v.Expiry, math.MaxInt64)))).Round(time.Millisecond)
		fmt.Fprintf(c.out, "expiry %d (in %v)\n", v.Expiry, max(0, left))
	default:
		fmt.Fprintf(c.out, "expiry %d\n", v.Expiry)
	}
	fmt.Fprintf(c.out, "size %d\n", len(v.Data))
	return nil
}

// scanPage is how many keys are asked for at a time.
const scanPage = 1000

// countPage is how many keys count asks for at a time.
const countPage = 10_000

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
