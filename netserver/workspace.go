package netserver

import (
	"context"
	"sync"

	"kv/protocol"
	"kv/store"
)

const (
	workspaceSize = 32 << 10
	// keepItems is how long a list a workspace keeps for its next user.
	keepItems = 128
	// workspaceMemory is what a workspace holds while it is used, its lists at their longest.
	workspaceMemory = workspaceSize + narrow + keepItems*160
)

// workspace is what a connection needs while it reads and answers, and gives back before it waits.
type workspace struct {
	in [workspaceSize]byte
	n  int // bytes of in that are filled
	// inbox is the connection's while it has no unfinished frame to keep.
	inbox inbox
	out   Output

	receipt receipt // of the last read from a socket

	// The frames that are being answered: those in batch[:at] have begun to be.
	batch []byte
	at    int

	// Lists that requests are parsed into and answered from.
	keys  [][]byte
	wire  []protocol.Pair
	pairs []store.Pair
	found []store.Found
}

var workspaces = sync.Pool{New: func() any {
	return &workspace{out: Output{Buf: make([]byte, 0, narrow)}}
}}

// takeWorkspace waits until there is memory for a workspace. It returns nil if the connection has to end instead.
func (c *conn) takeWorkspace() *workspace {
	if !c.hold(context.Background(), workspaceMemory, 0) {
		c.stop(errDrained)
		return nil
	}
	w := workspaces.Get().(*workspace)
	w.out.conn, c.work = c, w
	return w
}

// giveWorkspace returns w to the pool. What it points to would otherwise live as long as it does.
func (c *conn) giveWorkspace(w *workspace) {
	w.n, w.batch, w.at = 0, nil, 0
	w.out.close()
	c.work = nil
	w.clearLists()
	workspaces.Put(w)
	c.letGo(workspaceMemory)
}

func (w *workspace) clearLists() {
	w.keys, w.wire, w.pairs, w.found = cleared(w.keys), cleared(w.wire), cleared(w.pairs), cleared(w.found)
}

// cleared returns an empty list that holds on to nothing.
func cleared[T any](list []T) []T {
	if cap(list) > keepItems {
		return nil
	}
	clear(list)
	return list[:0]
}
