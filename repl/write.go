package repl

import (
	"fmt"
	"io"

	"kv/protocol"
	"kv/repl/files"
	"kv/repl/load"
	"kv/repl/text"
)

func writeCommands() []*command {
	all := []*command{
		{
			name: "set", args: "KEY VALUE | KEY - | KEY --file F", min: 1, max: 2, keys: firstKey, inTxn: true,
			short: "Give a key a value.",
			long: "`-` reads the value from stdin. An expiry that the key had is cleared unless `--ttl` or `--expire-at` gives it a new one. A time that has passed, by the server's clock, leaves the key absent. " +
				"With a condition that does not hold nothing is changed, and the exit code is 3.",
			examples: []example{
				{"set greeting 'hello, world'", "any value"},
				{"set logo - < logo.png", "any bytes, from stdin"},
				{"set lock:db host-7 --if-absent --ttl 30s", "a lock: exit code 3 where somebody has it"},
				{"set offer 10% --expire-at 2030-01-31T12:00:00Z", "until then"},
				{"set counter 8 --if-version $version", "only if nobody changed it meanwhile"},
				{"set -- -5 -7", "after --, nothing is an option"},
			},
			build: func(f flags) func(*call) error {
				var o setOptions
				flagVar(f, &o.ttl, "ttl", "", "DURATION", "the key expires after this time", parseTTL)
				flagVar(f, &o.expireAt, "expire-at", "",
					"TIME", "the key expires at this time: 2030-01-31T12:00:00Z (RFC 3339), or Unix milliseconds, as meta prints them", parseTime)
				flagVar(f, &o.ifVersion, "if-version", "", "V",
					"only if the key has this version (see meta); 0: only if it is absent", parseVersion)
				f.bool(&o.ifAbsent, "if-absent", "", "only if the key is absent")
				flagVar(f, &o.file, "file", "", "F", "the value is what this file holds", parseString)
				f.bool(&o.printVersion, "print-version", "", "print the version of the new value")
				return func(c *call) error {
					o.hasFile, o.conditional = f.Changed("file"), f.Changed("if-version") || o.ifAbsent
					if f.Changed("if-version") && o.ifAbsent {
						return usagef("--if-version and --if-absent exclude each other")
					}
					if o.ttl != 0 && o.expireAt != 0 {
						return usagef("--ttl and --expire-at exclude each other")
					}
					return c.set(o)
				}
			},
		},
		{
			name: "mset", args: "KEY VALUE [KEY VALUE …] | -", min: 1, max: -1, keys: evenKeys, inTxn: true,
			short: "Give many keys their values, all at one instant or none.",
			long: "`-` reads pairs from stdin in the text form (`help escaping`), as mget and export print them; all of it is one request. " +
				"A line that is wrong, or that has `\\N` for a value, is exit code 2, and nothing is written.",
			examples: []example{
				{"mset from:balance 90 to:balance 110", "nobody sees only one of them"},
				{"mget a b | kvc mset -", "what mget prints, mset reads"},
			},
			build: func(f flags) func(*call) error {
				var printVersion bool
				f.bool(&printVersion, "print-version", "", "print the version that the new values share")
				end := terminator(f)
				return func(c *call) error { return c.mset(printVersion, *end) }
			},
		},
		deleteCommand(),
	}
	all = append(all, changeCommands()...)
	return append(all, []*command{
		{
			name: "rollback", args: "KEY VERSION", min: 2, max: 2, keys: firstKey,
			short: "Give a key the value that it had in an earlier version, and print the new version.",
			long:  "It is a new version with the old value; where that version was a deletion, the key is deleted. A version that the server does not keep is exit code 1.",
			examples: []example{
				{"rollback config $version", "a version as history prints it"},
			},
			build: func(flags) func(*call) error { return (*call).rollback },
		},
		purgeCommand(),
	}...)
}

// setOptions are the options of set.
type setOptions struct {
	ttl, expireAt          uint64
	ifVersion              uint64
	ifAbsent, printVersion bool
	file                   string
	hasFile, conditional   bool // whether --file, or a condition, was given
}

// ok says in the shell that a command which prints nothing was done.
func (c *call) ok() {
	if c.mode == interactive && !c.opts.json {
		c.out.WriteString("OK\n")
	}
}

// wrote ends a command that made a new version.
func (c *call) wrote(version uint64, print bool) {
	switch {
	case c.opts.json:
		fmt.Fprintf(c.out, "{\"version\":%d}\n", version)
	case print:
		fmt.Fprintln(c.out, version)
	default:
		c.ok()
	}
}

func (c *call) set(o setOptions) error {
	q := protocol.Set{Key: c.key(0), TTL: o.ttl, ExpireAt: o.expireAt, Conditional: o.conditional, IfVersion: o.ifVersion}
	var err error
	if q.Value, err = c.setValue(o); err != nil {
		return err
	}
	if c.txn != nil {
		if o.printVersion {
			return usagef("--print-version is not possible inside a transaction: it has no version before it is committed")
		}
		if err := c.txn.set(q); err != nil {
			return err
		}
		c.ok()
		return nil
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	version, err := kv.Set(c.ctx, q)
	if err != nil {
		return conflict(err, q.Key)
	}
	c.wrote(version, o.printVersion)
	return nil
}

// setValue returns the value of a set, wherever it comes from.
func (c *call) setValue(o setOptions) ([]byte, error) {
	switch n := len(c.args); {
	case n == 1 && !o.hasFile:
		return nil, usagef("set needs a value: set KEY VALUE, set KEY - or set KEY --file F")
	case n == 2 && o.hasFile:
		return nil, usagef("set has a value and --file: one of them is enough")
	case n == 1:
		file, err := files.Open(c.ctx, o.file)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return readValue(newInput(c.ctx, file))
	case !c.args[1].stdin():
		return c.args[1].b, nil
	}
	if err := c.mayReadStdin(); err != nil {
		return nil, err
	}
	return readValue(c.stdin())
}

// readValue reads a whole value. It does not read more than any server would take.
func readValue(in io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(in, protocol.MaxLimit+1))
	if err != nil {
		return nil, fileError{fmt.Errorf("read the value: %w", err)}
	}
	if len(b) > protocol.MaxLimit {
		return nil, fileError{fmt.Errorf("the value is longer than %d bytes: no server takes that", protocol.MaxLimit)}
	}
	return b, nil
}

func (c *call) mset(printVersion bool, end byte) error {
	records, err := c.records(end)
	if err != nil {
		return err
	}
	if c.txn != nil {
		if printVersion {
			return usagef("--print-version is not possible inside a transaction: it has no version before it is committed")
		}
		for _, r := range records {
			if err := c.txn.set(protocol.Set{Key: r.Key, Value: r.Value}); err != nil {
				return err
			}
		}
		c.ok()
		return nil
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	version, err := load.Write(c.ctx, kv, records)
	if err != nil {
		return tooMuch(err, "import stores any number of records, though not at one instant")
	}
	c.wrote(version, printVersion)
	return nil
}

// records are the arguments of mset as pairs, or what stdin holds.
func (c *call) records(end byte) ([]text.Record, error) {
	var records []text.Record
	if len(c.args) == 1 && c.args[0].stdin() {
		if err := c.mayReadStdin(); err != nil {
			return nil, err
		}
		in := text.NewReader(c.stdin(), end)
		for {
			r, err := in.Record()
			if err == io.EOF {
				return records, nil
			}
			if err != nil {
				return nil, fileError{err}
			}
			records = append(records, r)
		}
	}
	if len(c.args)%2 != 0 {
		return nil, usagef("mset needs a value for each key: %s has none", shown(c.key(len(c.args)-1)))
	}
	for i := 0; i < len(c.args); i += 2 {
		if c.args[i+1].stdin() {
			return nil, usagef(`- for stdin stands alone; write -- before it where it is a value`)
		}
		records = append(records, text.Record{Key: c.key(i), Value: c.key(i + 1)})
	}
	return records, nil
}

func (c *call) rollback() error {
	version, err := parseVersion(string(c.key(1)))
	if err != nil {
		return usagef("%s is not %v", shown(c.key(1)), err)
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	now, err := kv.Rollback(c.ctx, c.key(0), version)
	if err != nil {
		return notFound(err, shown(c.key(0))+" in version "+decimal(version))
	}
	c.wrote(now, true)
	return nil
}
