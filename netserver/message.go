package netserver

import (
	"kv/protocol"
	"kv/protocol/printable"
)

// appendRefusal appends the answer e to a request. Its message stays on one line, and does nothing to a terminal:
// errors have names of files in them, and what the system says of those.
func appendRefusal(dst []byte, op protocol.Opcode, id uint32, e *protocol.Error) []byte {
	if shown := printable.Line(e.Message); shown != e.Message {
		changed := *e
		changed.Message = shown
		e = &changed
	}
	return protocol.AppendError(dst, op, id, e)
}
