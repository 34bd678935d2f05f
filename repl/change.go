package repl

import (
	"errors"
	"fmt"
	"strconv"

	"kv/protocol"
)

// The commands that change a key by what it holds.

func changeCommands() []*command {
	return []*command{
		{
			name: "incr", args: "KEY [BY]", min: 1, max: 2, keys: firstKey,
			short: "Add to a number, and print the sum.",
			long: "Without BY, 1. A key that does not exist counts as 0. The value is a whole number of 64 bits, with a sign, as decimal text; what is none, or a sum that would be none, is exit code 4, and nothing is changed. " +
				"A key that exists keeps its expiry: `--ttl` and `--expire-at` are for the one that incr makes. Of increments that are sent at the same time none is lost; one whose answer was lost is never sent again by itself.",
			examples: []example{
				{"incr visits", "count one more"},
				{"incr stock:apples 12", "twelve more"},
				{"incr stock:apples -- -3", "three fewer: after --, nothing is an option"},
				{"incr calls:ann --ttl 1m", "how many in the minute that the first one began"},
			},
			build: func(f flags) func(*call) error {
				var o changeOptions
				o.expiry(f, "ttl", "a key that is made expires after this time", "expire-at",
					"a key that is made expires at this time: 2030-01-31T12:00:00Z (RFC 3339), or Unix milliseconds")
				o.condition(f)
				return func(c *call) error { return c.incr(o, f.Changed("if-version")) }
			},
		},
		{
			name: "expire", args: "KEY TTL | KEY --at TIME", min: 1, max: 2, keys: firstKey,
			short: "Let a key expire after a time, or at one.",
			long:  "Its value stays. A time that has passed, by the server's clock, deletes it. A key that does not exist is exit code 1. It is a new version of the key: where history is kept, the value is in it once more.",
			examples: []example{
				{"expire session:7 30m", "half an hour from now"},
				{"expire offer --at 2030-01-31T12:00:00Z", "until then"},
				{"expire lock 30s --if-version $version", "only if it is still ours"},
			},
			build: func(f flags) func(*call) error {
				var o changeOptions
				flagVar(f, &o.expireAt, "at", "", "TIME",
					"expire at this time: 2030-01-31T12:00:00Z (RFC 3339), or Unix milliseconds, as meta prints them", parseTime)
				o.condition(f)
				f.bool(&o.printVersion, "print-version", "", "print the version that the key has then")
				return func(c *call) error { return c.expire(o, f.Changed("if-version")) }
			},
		},
		{
			name: "persist", args: "KEY", min: 1, max: 1, keys: firstKey,
			short: "Let a key stay that would have expired.",
			long:  "Its value stays. Where it has no expiry, nothing is changed. A key that does not exist is exit code 1.",
			examples: []example{
				{"persist session:7", "it does not expire any more"},
			},
			build: func(f flags) func(*call) error {
				var o changeOptions
				o.condition(f)
				f.bool(&o.printVersion, "print-version", "", "print the version that the key has then")
				return func(c *call) error { return c.persist(o, f.Changed("if-version")) }
			},
		},
	}
}

// changeOptions are the options of incr, expire and persist.
type changeOptions struct {
	ttl, expireAt, ifVersion uint64
	printVersion             bool
}

func (o *changeOptions) condition(f flags) {
	flagVar(f, &o.ifVersion, "if-version", "", "V",
		"only if the key has this version (see meta); 0: only if it is absent", parseVersion)
}

func (o *changeOptions) expiry(f flags, ttl, ttlSays, at, atSays string) {
	flagVar(f, &o.ttl, ttl, "", "DURATION", ttlSays, parseTTL)
	flagVar(f, &o.expireAt, at, "", "TIME", atSays, parseTime)
}

func (c *call) incr(o changeOptions, conditional bool) error {
	q := protocol.Incr{Key: c.key(0), By: 1, TTL: o.ttl, ExpireAt: o.expireAt, Conditional: conditional, IfVersion: o.ifVersion}
	if o.ttl != 0 && o.expireAt != 0 {
		return usagef("--ttl and --expire-at exclude each other")
	}
	if len(c.args) == 2 {
		var err error
		if q.By, err = strconv.ParseInt(string(c.key(1)), 10, 64); err != nil {
			return usagef("%s is not a whole number of 64 bits, such as 1, 250 or -3", shown(c.key(1)))
		}
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	value, version, err := kv.Incr(c.ctx, q)
	if err != nil {
		return conflict(err, q.Key)
	}
	if c.opts.json {
		fmt.Fprintf(c.out, "{\"value\":%d,\"version\":%d}\n", value, version)
	} else {
		fmt.Fprintln(c.out, value)
	}
	return nil
}

func (c *call) expire(o changeOptions, conditional bool) error {
	q := protocol.Expire{Key: c.key(0), ExpireAt: o.expireAt, Conditional: conditional, IfVersion: o.ifVersion}
	switch n := len(c.args); {
	case n == 2 && o.expireAt != 0:
		return usagef("expire has a time to live and --at: one of them is enough")
	case n == 1 && o.expireAt == 0:
		return usagef("expire needs a time: expire KEY 30s, or expire KEY --at TIME")
	case n == 2:
		var err error
		if q.TTL, err = parseTTL(string(c.key(1))); err != nil {
			return usagef("%s is wrong: a time to live is %v", shown(c.key(1)), err)
		}
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	version, err := kv.Expire(c.ctx, q)
	return c.changed(q.Key, version, o.printVersion, err)
}

func (c *call) persist(o changeOptions, conditional bool) error {
	q := protocol.Persist{Key: c.key(0), Conditional: conditional, IfVersion: o.ifVersion}
	kv, err := c.client()
	if err != nil {
		return err
	}
	version, err := kv.Persist(c.ctx, q)
	return c.changed(q.Key, version, o.printVersion, err)
}

// changed ends a command that changed what must be there.
func (c *call) changed(key []byte, version uint64, print bool, err error) error {
	switch {
	case errors.Is(err, protocol.ErrNotFound):
		return notFound(err, shown(key))
	case err != nil:
		return conflict(err, key)
	}
	c.wrote(version, print)
	return nil
}
