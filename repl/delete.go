package repl

import (
	"errors"
	"fmt"
	"io"

	"kv/protocol"
	"kv/protocol/client"
	"kv/repl/load"
	"kv/repl/text"
)

// What del sends at a time. A request of so many keys takes little memory of the server, which may have none to spare: to
// delete is how it gets some.
const (
	deleteBatch = 1000    // keys of a batch, unless --batch says otherwise
	deleteBytes = 1 << 20 // bytes of keys after which a batch is full
	deleteWhole = 10_000  // so many keys of stdin are one request, if the server takes it
)

func deleteCommand() *command {
	return &command{
		name: "del", args: "KEY [KEY …] | - | --prefix P", min: 0, max: -1, keys: allKeys, inTxn: true,
		short: "Delete keys, and print how many existed.",
		long: "A key that does not exist is no error. Keys that are arguments are deleted all at one instant. `-` reads keys from stdin, one a line, in the text form: " +
			"up to ten thousand of them (and 1 MiB) are deleted at one instant too, if the server takes them in one request; more go in batches, and a line on stderr says so. " +
			"`--prefix` deletes what begins with a prefix, in batches. A batch is deleted at one instant; after an error, stderr says how many keys are gone. " +
			"Batches take hardly any memory, here and in the server, so a full one can be emptied. In a cluster that has no leader, batches wait for one, each for as long as `--timeout` says.",
		examples: []example{
			{"del greeting logo", "two keys"},
			{"del --prefix tmp:", "all keys that begin with tmp:"},
			{"scan tmp: | kvc del -", "the same through a pipe: any list of keys"},
			{"scan tmp: | kvc del - --batch 100", "a hundred at a time"},
		},
		build: func(f flags) func(*call) error {
			var o deleteOptions
			flagVar(f, &o.prefix, "prefix", "", "P", "delete all keys that begin with P", parseString)
			flagVar(f, &o.batch, "batch", "", "N",
				fmt.Sprintf("in batches of N keys, or 1 MiB of them (with --prefix: %d)", deleteBatch), parseCount)
			end := terminator(f)
			return func(c *call) error {
				o.byPrefix, o.end = f.Changed("prefix"), *end
				return c.del(o)
			}
		},
	}
}

// deleteOptions are the options of del.
type deleteOptions struct {
	prefix   string
	byPrefix bool // whether --prefix was given
	batch    int  // 0: not given
	end      byte // of a line of stdin
}

func (o deleteOptions) check(c *call) error {
	switch {
	case o.byPrefix && len(c.args) > 0:
		return usagef("--prefix says which keys: none are named beside it")
	case o.byPrefix && o.prefix == "":
		return usagef("--prefix is empty, and every key begins with that: where all are meant, scan | kvc del -")
	case !o.byPrefix && len(c.args) == 0:
		return usagef("usage: %s", deleteCommand().usage())
	case c.txn != nil && (o.byPrefix || o.batch > 0):
		return usagef("--prefix and --batch are not possible inside a transaction: they are many requests")
	}
	return nil
}

func (c *call) del(o deleteOptions) error {
	if err := o.check(c); err != nil {
		return err
	}
	if c.txn != nil || !o.byPrefix && o.batch == 0 && !c.keysFromStdin() {
		return c.deleteAtOnce(o)
	}
	if !o.byPrefix && c.keysFromStdin() {
		if err := c.mayReadStdin(); err != nil {
			return err
		}
	}
	_, err := c.client()
	if err != nil {
		return err
	}
	d := &deleter{c: c, bar: c.newProgress(0), asked: o.batch > 0 || o.byPrefix}
	switch {
	case o.byPrefix:
		err = d.prefix([]byte(o.prefix), o.batch)
	case c.keysFromStdin():
		in := text.NewReader(c.stdin(), o.end)
		err = d.all(in.Key, o.batch)
	default:
		var keys [][]byte
		if keys, err = c.keys(o.end); err == nil {
			err = d.all(listed(keys), o.batch)
		}
	}
	if err == nil {
		c.foundUnder([]byte(o.prefix), d.keys)
	}
	return d.report(err)
}

// keysFromStdin reports whether stdin holds the keys.
func (c *call) keysFromStdin() bool { return len(c.args) == 1 && c.args[0].stdin() }

// listed gives keys one by one, and then io.EOF.
func listed(keys [][]byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		if len(keys) == 0 {
			return nil, io.EOF
		}
		key := keys[0]
		keys = keys[1:]
		return key, nil
	}
}

// deleteAtOnce deletes the arguments with one request, or at the end of the open transaction.
func (c *call) deleteAtOnce(o deleteOptions) error {
	keys, err := c.keys(o.end)
	if err != nil {
		return err
	}
	if c.txn != nil {
		for _, key := range keys {
			c.txn.del(key)
		}
		c.ok()
		return nil
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	existed, version, err := kv.Del(c.ctx, keys...)
	if err != nil {
		return tooMuch(err, "--batch N deletes any number of keys, though not at one instant")
	}
	c.deleted(existed, version)
	return nil
}

// deleted prints the result of a del.
func (c *call) deleted(existed int, version uint64) {
	if c.opts.json {
		fmt.Fprintf(c.out, "{\"existed\":%d,\"version\":%d}\n", existed, version)
	} else {
		fmt.Fprintln(c.out, existed)
	}
}

// deleter deletes any number of keys, batch by batch.
type deleter struct {
	c     *call
	bar   *progress
	asked bool // for batches

	existed, keys, requests int
	bytes                   int64
	version                 uint64 // of the last deletion
}

// all deletes the keys that next gives until io.EOF: in batches of so many, or where batch is 0 as it likes.
func (d *deleter) all(next func() ([]byte, error), batch int) error {
	limit := batch
	if batch == 0 {
		limit = deleteWhole
	}
	var keys [][]byte
	bytes := 0
	for {
		key, err := next()
		if err == io.EOF {
			return d.delete(keys)
		}
		if err != nil {
			return fileError{err}
		}
		if len(keys) > 0 && (len(keys) == limit || bytes+len(key) > deleteBytes) {
			if err := d.delete(keys); err != nil {
				return err
			}
			keys, bytes = keys[:0], 0
			if batch == 0 {
				limit = deleteBatch // there are more than one request is made for
			}
		}
		keys = append(keys, key)
		bytes += len(key)
	}
}

// prefix deletes the keys that begin with prefix, as pages of a scan bring them.
func (d *deleter) prefix(prefix []byte, batch int) error {
	if batch == 0 {
		batch = deleteBatch
	}
	q := protocol.Scan{Prefix: prefix, Limit: uint32(batch)}
	for {
		page, err := d.c.scanPage(q)
		if len(q.Cursor) > 0 && load.StaleCursor(err) { // another server leads: what is deleted is not found again
			q.Cursor = nil
			continue
		}
		if err != nil {
			return err
		}
		var keys [][]byte
		for _, it := range page.Items {
			keys = append(keys, it.Key)
		}
		if err := d.all(listed(keys), batch); err != nil {
			return err
		}
		if q.Cursor = page.Cursor; len(q.Cursor) == 0 {
			return nil
		}
	}
}

// delete deletes one batch. If it is more than the server takes at a time, it goes in halves.
func (d *deleter) delete(keys [][]byte) error {
	if len(keys) == 0 {
		return nil
	}
	var existed int
	var version uint64
	err := d.c.patience().Write(d.c.ctx, func(kv *client.Client) (err error) {
		existed, version, err = kv.Del(d.c.ctx, keys...)
		return err
	})
	if len(keys) > 1 && (errors.Is(err, protocol.ErrTooLarge) || errors.Is(err, protocol.ErrOutOfMemory)) {
		half := len(keys) / 2
		if err := d.delete(keys[:half]); err != nil {
			return err
		}
		return d.delete(keys[half:])
	}
	if err != nil {
		return err
	}
	d.requests++
	d.existed += existed
	d.keys += len(keys)
	for _, key := range keys {
		d.bytes += int64(len(key))
	}
	d.version = max(d.version, version)
	d.bar.show(d.bytes, d.keys)
	return nil
}

// report tells how many keys were deleted. err is the error that ended the command.
func (d *deleter) report(err error) error {
	d.bar.clear()
	switch {
	case err != nil && d.requests > 0:
		d.c.notef("%d keys were deleted before this:", d.existed)
		return err
	case err != nil:
		return err
	case d.asked || d.requests > 1:
		d.c.notef("%d of %d keys existed; deleted in batches, %d in all", d.existed, d.keys, d.requests)
	}
	d.c.deleted(d.existed, d.version)
	return nil
}
