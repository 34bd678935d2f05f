package repl

import (
	"fmt"

	"kv/protocol"
	"kv/protocol/client"
	"kv/repl/load"
)

func purgeCommand() *command {
	return &command{
		name: "purge", args: "KEY [KEY …] | - | --prefix P", min: 0, max: -1, keys: allKeys,
		short: "Erase the earlier versions of keys, and print how many those were.",
		long: "The current value of a key stays; of a key that was deleted, or has expired, nothing does. Keys that are arguments, or that `-` reads from stdin, one a line in the text form, " +
			"are purged at one instant. `--prefix` purges what begins with a prefix, deleted keys too, page by page; in a cluster that has no leader it waits for one, for as long as `--timeout` says. " +
			"What was erased can't be read any more and does not come back. In the server's data folder it may still be until the next snapshot: `snapshot` makes one. Backups that were made before have it.",
		examples: []example{
			{"purge user:17", "one key's past"},
			{"del user:17 && kvc purge user:17 && kvc snapshot", "all there is of a key, on the disk too"},
			{"purge --prefix session:", "that of all keys that begin with session:"},
		},
		build: func(f flags) func(*call) error {
			var prefix string
			flagVar(f, &prefix, "prefix", "", "P", "purge all keys that begin with P, those that are deleted too", parseString)
			end := terminator(f)
			return func(c *call) error { return c.purge(prefix, f.Changed("prefix"), *end) }
		},
	}
}

func (c *call) purge(prefix string, byPrefix bool, end byte) error {
	switch {
	case byPrefix && len(c.args) > 0:
		return usagef("--prefix says which keys: none are named beside it")
	case byPrefix && prefix == "":
		return usagef("--prefix is empty, and every key begins with that: name the keys, or a prefix")
	case !byPrefix && len(c.args) == 0:
		return usagef("usage: %s", purgeCommand().usage())
	}
	q := protocol.Purge{ByPrefix: byPrefix, Prefix: []byte(prefix)}
	if !byPrefix {
		var err error
		if q.Keys, err = c.keys(end); err != nil {
			return err
		}
	}
	var erased, version uint64
	for {
		var p protocol.PurgeResponse
		ask := func(kv *client.Client) (err error) {
			p, err = kv.Purge(c.ctx, q)
			return err
		}
		var err error
		if byPrefix {
			err = c.patience().Write(c.ctx, ask)
		} else if kv, refused := c.client(); refused != nil {
			err = refused
		} else {
			err = ask(kv)
		}
		if len(q.Cursor) > 0 && load.StaleCursor(err) { // another server leads: what is erased is not found again
			q.Cursor = nil
			continue
		}
		if err != nil {
			if erased > 0 {
				c.notef("%d versions were erased before this:", erased)
			}
			return err
		}
		erased += p.Erased
		version = max(version, p.Version)
		if q.Cursor = p.Cursor; len(q.Cursor) == 0 {
			break
		}
	}
	if c.opts.json {
		fmt.Fprintf(c.out, "{\"erased\":%d,\"version\":%d}\n", erased, version)
	} else {
		fmt.Fprintln(c.out, erased)
	}
	if hint := pattern(q.Prefix); erased == 0 && hint != "" {
		c.notef("nothing was erased: %s", hint)
	}
	return nil
}
