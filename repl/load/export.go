package load

import (
	"context"

	"kv/protocol"
	"kv/protocol/client"
)

// exportPage is how many records are asked for at a time.
const exportPage = 1000

// Export calls emit for page after page of the keys that begin with prefix, with values, versions and expiries. The
// next page is on its way while emit works. A key that is there all the time is emitted once. In a cluster that has no
// leader it waits for one; where the connection is lost behind the first page, the server that is connected to then may
// not know the cursor, which is the error.
func Export(ctx context.Context, p Patience, prefix []byte, emit func([]protocol.ScanItem) error) error {
	q := protocol.Scan{WithMeta: true, WithValues: true, Limit: exportPage, Prefix: prefix}
	c, err := p.Connect(ctx)
	if err != nil {
		return err
	}
	next := c.Start(ctx, q.AppendTo)
	for {
		var page protocol.ScanPage
		_, body, err := next.Wait(ctx)
		if notAnswered(err) {
			err = p.again(ctx, err, notAnswered, func(now *client.Client) (err error) {
				c = now
				page, err = c.Scan(ctx, q)
				return err
			})
		} else if err == nil {
			page, err = protocol.ParseScanPage(q.WithMeta, q.WithValues, body)
		}
		if err != nil {
			return err
		}
		q.Cursor = page.Cursor
		last := len(q.Cursor) == 0
		if !last {
			next = c.Start(ctx, q.AppendTo)
		}
		if err := emit(page.Items); err != nil || last {
			return err
		}
	}
}
