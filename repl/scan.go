package repl

import (
	"fmt"

	"kv/protocol"
	"kv/protocol/client"
	"kv/protocol/jsonform"
	"kv/repl/load"
)

// patience is how long a command of many requests waits for a server to lead, at each.
func (c *call) patience() load.Patience {
	return load.Patience{Connect: c.session.client, For: c.opts.timeout}
}

// scanPage returns a page of keys. Where no server leads it waits for one.
func (c *call) scanPage(q protocol.Scan) (page protocol.ScanPage, err error) {
	err = c.patience().Read(c.ctx, func(kv *client.Client) (err error) {
		page, err = kv.Scan(c.ctx, q)
		return err
	})
	return page, err
}

func (c *call) scan(limit int, values bool, end byte) error {
	q := protocol.Scan{WithValues: values, WithMeta: c.opts.json, Limit: scanPage}
	if len(c.args) > 0 {
		q.Prefix = c.key(0)
	}
	list := jsonList{s: c.session}
	printed := 0
	for {
		if limit > 0 {
			q.Limit = uint32(min(scanPage, limit-printed))
		}
		page, err := c.scanPage(q)
		if err != nil {
			return err
		}
		for _, it := range page.Items {
			if limit > 0 && printed == limit {
				break
			}
			printed++
			v := protocol.Value{Found: true, Data: it.Value, Meta: it.Meta}
			switch {
			case c.opts.json && values:
				list.next()
				c.jsonValue(it.Key, v)
			case c.opts.json:
				list.next()
				c.jsonKey(it)
			case values:
				c.printPair(it.Key, v, end)
			default:
				c.printKey(it.Key, end)
				c.out.WriteByte(end)
			}
		}
		if err := c.flush(); err != nil {
			return err
		}
		if q.Cursor = page.Cursor; len(q.Cursor) == 0 || limit > 0 && printed == limit {
			break
		}
	}
	if c.opts.json {
		list.close()
	}
	c.foundUnder(q.Prefix, printed)
	return nil
}

// foundUnder ends a command for all keys that begin with prefix, of which there were n.
func (c *call) foundUnder(prefix []byte, n int) {
	if hint := pattern(prefix); n == 0 && hint != "" {
		c.notef("no key begins with %s: %s", shown(prefix), hint)
	}
}

func (c *call) count() error {
	q := protocol.Scan{Limit: countPage}
	if len(c.args) > 0 {
		q.Prefix = c.key(0)
	}
	n := 0
	for {
		page, err := c.scanPage(q)
		if len(q.Cursor) > 0 && load.StaleCursor(err) { // another server leads
			q.Cursor, n = nil, 0
			continue
		}
		if err != nil {
			return err
		}
		n += len(page.Items)
		if q.Cursor = page.Cursor; len(q.Cursor) == 0 {
			break
		}
	}
	if c.opts.json {
		fmt.Fprintf(c.out, "{\"count\":%d}\n", n)
	} else {
		fmt.Fprintln(c.out, n)
	}
	c.foundUnder(q.Prefix, n)
	return nil
}

// jsonKey prints a key without its value as a JSON object.
func (s *session) jsonKey(it protocol.ScanItem) {
	b := append(s.scratch[:0], `{"key":`...)
	b = jsonform.AppendBytes(b, it.Key)
	s.scratch = jsonform.AppendMeta(b, it.Version, it.Expiry)
	s.out.Write(s.scratch)
}
