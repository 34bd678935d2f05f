package netserver

import (
	"encoding/binary"

	"kv/protocol"
)

// claim is memory that a large request holds: its frame while that arrives, and the lists that it is parsed into. Both are
// many times what an idle connection costs, and a client decides how much. So they are claimed before they are allocated,
// from Config.RequestMemory; and, for requests that need the store's memory anyway, from the store's limit too. (Reads and
// deletes must work in a store that is full.) A claim ends with the use of what it stands for, so a frame's after its answer
// has been sent: a client may know the answer a little earlier.
type claim struct {
	bytes  int64
	stored bool // of the store's limit too
}

// claim takes n bytes for a request with this opcode, or returns false if they are not there. whole is how much the store
// will be asked for in all, from now until the request is done; see store.Reserve.
func (s *Server) claim(op protocol.Opcode, n, whole int) (claim, bool) {
	c := claim{bytes: int64(n)}
	// Not added first and taken back: others would be refused meanwhile.
	for {
		used := s.requestMemory.Load()
		if used+c.bytes > s.config.RequestMemory {
			return claim{}, false
		}
		if s.requestMemory.CompareAndSwap(used, used+c.bytes) {
			break
		}
	}
	switch op {
	case protocol.OpSet, protocol.OpMSet, protocol.OpTxn:
		if !s.config.Store.Reserve(c.bytes, int64(whole)) {
			s.requestMemory.Add(-c.bytes)
			return claim{}, false
		}
		c.stored = true
	}
	return c, true
}

// release gives a claim back. The zero claim may be released too.
func (s *Server) release(c claim) {
	if c.bytes == 0 {
		return
	}
	s.requestMemory.Add(-c.bytes)
	if c.stored {
		s.config.Store.Release(c.bytes)
	}
}

// errNoRoom is the answer to a request that could not claim what it needs.
var errNoRoom = &protocol.Error{Status: protocol.StatusOutOfMemory, Message: "no memory for a request of this size now"}

// itemMemory is about what one key of a request takes in all the lists on the way, here and in the store. Keys that are only
// read or deleted take little: where memory is short, they are what makes room.
func itemMemory(op protocol.Opcode) int {
	switch op {
	case protocol.OpMGet:
		return 24 + 32 // the key, and where it is found
	case protocol.OpDel:
		return 24 + 96 // the key, what stands for its deletion, and its bucket without it
	}
	return 160
}

// claimItems claims the memory for the lists that a request is parsed into. A short one needs no claim: the workspace has
// the room.
func (s *Server) claimItems(op protocol.Opcode, body []byte) (claim, error) {
	n := items(op, body)
	if n <= keepItems {
		return claim{}, nil
	}
	size := n * itemMemory(op)
	c, ok := s.claim(op, size, size+len(body))
	if ok {
		return c, nil
	}
	frame := 0
	if len(body) > workspaceSize {
		frame = bufferSize(len(body))
	}
	if int64(frame+size) > s.config.RequestMemory {
		return c, refusalf(protocol.StatusOutOfMemory, "%v of %d keys takes %d bytes while it runs, and the server has %d for all requests: send fewer keys at a time",
			op, n, frame+size, s.config.RequestMemory)
	}
	return c, errNoRoom
}

// items returns how many keys the body of a request has, as far as it can be one.
func items(op protocol.Opcode, body []byte) int {
	switch op {
	case protocol.OpDel, protocol.OpMGet, protocol.OpPurge:
		return count(body, 4)
	case protocol.OpMSet:
		return count(body, 8)
	case protocol.OpTxn:
		conditions := count(body, 12)
		if len(body) < 4 {
			return 0
		}
		rest := body[4:]
		for range conditions {
			if len(rest) < 12 {
				return conditions
			}
			size := uint64(binary.BigEndian.Uint32(rest[8:]))
			if size > uint64(len(rest)-12) {
				return conditions
			}
			rest = rest[12+size:]
		}
		return conditions + count(rest, 5)
	}
	return 0
}

// count reads a count, which can't be more than the bytes behind it allow.
func count(b []byte, minSize int) int {
	if len(b) < 4 {
		return 0
	}
	return min(int(binary.BigEndian.Uint32(b)), (len(b)-4)/minSize)
}
