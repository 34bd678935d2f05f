package repl

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"kv/protocol"
	"kv/protocol/jsonform"
)

func (c *call) history(limit uint32, end byte) error {
	kv, err := c.client()
	if err != nil {
		return err
	}
	key := c.key(0)
	revisions, err := kv.History(c.ctx, key, limit)
	if err != nil && !errors.Is(err, protocol.ErrNotFound) {
		return err
	}
	list := jsonList{s: c.session}
	for _, r := range revisions {
		if c.opts.json {
			list.next()
			c.jsonRevision(key, r)
			continue
		}
		fmt.Fprintf(c.out, "%d\t%s\t", r.Version, revisionTime(r))
		if r.Value.Found {
			c.printField(r.Value.Data, end)
		} else {
			c.printMissing(end)
		}
		c.out.WriteByte(end)
	}
	if c.opts.json {
		list.close()
	}
	if len(revisions) == 0 {
		return notFoundError{shown(key)}
	}
	return nil
}

func revisionTime(r protocol.Revision) string {
	return time.UnixMicro(int64(r.Time)).UTC().Format("2006-01-02T15:04:05.000000Z07:00")
}

func (s *session) jsonRevision(key []byte, r protocol.Revision) {
	b := append(s.scratch[:0], `{"key":`...)
	b = jsonform.AppendBytes(b, key)
	b = append(b, `,"value":`...)
	if r.Value.Found {
		b = jsonform.AppendBytes(b, r.Value.Data)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"version":`...)
	b = strconv.AppendUint(b, r.Version, 10)
	s.scratch = fmt.Appendf(b, `,"time":%q}`, revisionTime(r))
	s.out.Write(s.scratch)
}
