package netserver

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// TestRequests walks the table: there is a row for each opcode of the protocol and for no other; who may only read gets
// nothing that can write, but a transaction, which asks again; and no body has more keys than it has room for.
func TestRequests(t *testing.T) {
	for op := range requests {
		op, r := protocol.Opcode(op), requests[op]
		require.Equal(t, op.Known(), r.handle != nil, "%v", op)
		if r.needs.access() < AccessWrite && op != protocol.OpTxn {
			require.False(t, op.Writes(), "%v", op)
		}
		require.Equal(t, op == protocol.OpHello, r.needs == needsNothing, "%v", op)
		if r.items == nil {
			require.Zero(t, r.perItem, "%v", op)
			require.Nil(t, r.lists, "%v", op)
			continue
		}
		require.LessOrEqual(t, r.perItem, mostPerItem, "%v", op)
		for size := range 40 {
			for _, b := range []byte{0, 1, 0xff} {
				body := bytes.Repeat([]byte{b}, size)
				require.LessOrEqual(t, r.items(body), size/4, "%v", op)
				require.GreaterOrEqual(t, r.items(body), 0, "%v", op)
			}
		}
	}
}
