package load

import (
	"context"

	"kv/protocol"
	"kv/protocol/client"
)

// exportPage is how many records are asked for at a time.
const exportPage = 1000

// Export calls emit for page after page of the keys that begin with prefix, with values, versions and expiries. The next
// page is on its way while emit works. A key that is there all the time is emitted once.
func Export(ctx context.Context, c *client.Client, prefix []byte, emit func([]protocol.ScanItem) error) error {
	q := protocol.Scan{WithMeta: true, WithValues: true, Limit: exportPage, Prefix: prefix}
	next := c.Start(ctx, q.AppendTo)
	for {
		_, body, err := next.Wait(ctx)
		if err != nil {
			return err
		}
		page, err := protocol.ParseScanPage(q.WithMeta, q.WithValues, body)
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
