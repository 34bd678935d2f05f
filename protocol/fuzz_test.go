package protocol_test

import (
	"testing"

	"kv/protocol"
)

// FuzzRequest: any body of any opcode is refused, or means exactly what it says.
func FuzzRequest(f *testing.F) {
	for _, p := range small(f) {
		h, body := split(p.request)
		f.Add(uint8(h.Opcode), h.Flags, body)
	}
	f.Fuzz(func(t *testing.T, op, flags uint8, body []byte) {
		checkRequest(t, protocol.Header{Length: uint32(8 + len(body)), Opcode: protocol.Opcode(op), Flags: flags}, body)
	})
}

// FuzzResponse: the same of what a server may answer to a request with these flags.
func FuzzResponse(f *testing.F) {
	for _, p := range small(f) {
		h, body := split(p.response)
		f.Add(uint8(h.Opcode), protocol.ParseHeader(p.request).Flags, h.Flags, body)
	}
	f.Fuzz(func(t *testing.T, op, flags, status uint8, body []byte) {
		checkResponse(t, flags, protocol.Header{Length: uint32(8 + len(body)), Opcode: protocol.Opcode(op), Flags: status}, body)
	})
}
