package netserver

import (
	"encoding/binary"

	"kv/protocol"
	"kv/store"
)

// request is all that is known of one kind of request, besides what package protocol knows. What is left out is the
// safe side of it.
type request struct {
	// handle answers a request that passed all checks but that of its body. It either appends the answer or returns an error.
	handle func(c *conn, w *workspace, h protocol.Header, body []byte) error
	// needs is the access without which a request is refused unread.
	needs needs
	// key returns the key of a request that has exactly one and looks it up, to be fetched ahead; what its body is like
	// otherwise is looked at later. nil: there is no such key.
	key func(flags uint8, body []byte) (key []byte, ok bool)
	// items returns how many keys a body has, as far as it can be one; nil: few.
	items func(body []byte) int
	// perItem is about how many bytes one of those takes in all the lists on the way, here and in the store; 0: the most.
	perItem int
	// lists makes those that a request with n keys is parsed into, each at once as long as it gets; nil: they are made elsewhere.
	lists func(w *workspace, n int)
}

// needs is what access a request needs.
type needs uint8

const (
	needsWrite needs = iota
	needsRead
	needsNothing
	needsAdmin
)

func (n needs) access() Access {
	return [...]Access{AccessWrite, AccessRead, AccessNone, AccessAdmin}[n]
}

// requests are all that there are.
var requests = [256]request{
	protocol.OpHello:    {handle: (*conn).hello, needs: needsNothing},
	protocol.OpPing:     {handle: (*conn).ping, needs: needsRead},
	protocol.OpStats:    {handle: (*conn).stats, needs: needsRead},
	protocol.OpGet:      {handle: (*conn).get, needs: needsRead, key: keyOfGet},
	protocol.OpSet:      {handle: (*conn).set, key: keyOf(protocol.ParseSet, func(q protocol.Set) []byte { return q.Key })},
	protocol.OpIncr:     {handle: (*conn).incr, key: keyOf(protocol.ParseIncr, func(q protocol.Incr) []byte { return q.Key })},
	protocol.OpExpire:   {handle: (*conn).expire, key: keyOf(protocol.ParseExpire, func(q protocol.Expire) []byte { return q.Key })},
	protocol.OpPersist:  {handle: (*conn).persist, key: keyOf(protocol.ParsePersist, func(q protocol.Persist) []byte { return q.Key })},
	protocol.OpMGet:     {handle: (*conn).mget, needs: needsRead, items: countKeys, perItem: 24 + 32, lists: listsOfMGet}, // the key, and where it is found
	protocol.OpMSet:     {handle: (*conn).mset, items: countPairs, lists: listsOfMSet},
	protocol.OpDel:      {handle: (*conn).del, items: countKeys, perItem: 24 + 96, lists: listsOfDel}, // the key, its deletion, its bucket without it
	protocol.OpTxn:      {handle: (*conn).txn, needs: needsRead, items: countTxn},                     // one that writes asks for more once it is parsed
	protocol.OpScan:     {handle: (*conn).scan, needs: needsRead},
	protocol.OpHistory:  {handle: (*conn).history, needs: needsRead},
	protocol.OpRollback: {handle: (*conn).rollback},
	protocol.OpPurge:    {handle: (*conn).purge, items: countKeys},
	protocol.OpSnapshot: {handle: (*conn).snapshot},
	protocol.OpBackup:   {handle: (*conn).backup, needs: needsRead},
	protocol.OpCluster:  {handle: (*conn).cluster, needs: needsRead},
	protocol.OpReads:    {handle: (*conn).reads, needs: needsRead},
	protocol.OpMember:   {handle: (*conn).member, needs: needsAdmin},
}

// mostPerItem is request.perItem's most. Keys that are only read or deleted take less: where memory is short, they are
// what makes room.
const mostPerItem = 160

func keyOfGet(flags uint8, body []byte) ([]byte, bool) {
	return body, flags&protocol.FlagAtVersion == 0
}

// keyOf is request.key for those whose body has the key behind other things.
func keyOf[T any](parse func(flags uint8, body []byte) (T, error), key func(T) []byte) func(uint8, []byte) ([]byte, bool) {
	return func(flags uint8, body []byte) ([]byte, bool) {
		q, err := parse(flags, body)
		return key(q), err == nil
	}
}

func countKeys(body []byte) int  { return count(body, 4) }
func countPairs(body []byte) int { return count(body, 8) }

func countTxn(body []byte) int {
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

// count reads a count, which can't be more than the bytes behind it allow.
func count(b []byte, minSize int) int {
	if len(b) < 4 {
		return 0
	}
	return min(int(binary.BigEndian.Uint32(b)), (len(b)-4)/minSize)
}

func listsOfMGet(w *workspace, n int) {
	w.keys, w.found = make([][]byte, 0, n), make([]store.Found, 0, n)
}

func listsOfMSet(w *workspace, n int) {
	w.wire, w.pairs = make([]protocol.Pair, 0, n), make([]store.Pair, 0, n)
}

func listsOfDel(w *workspace, n int) { w.keys = make([][]byte, 0, n) }

// claimItems claims the memory for the lists that a request is parsed into. A short one needs no claim: the workspace has
// the room.
func (s *Server) claimItems(w *workspace, op protocol.Opcode, body []byte) (claim, error) {
	r := &requests[op]
	if r.items == nil {
		return 0, nil
	}
	n := r.items(body)
	if n <= keepItems {
		return 0, nil
	}
	perItem := r.perItem
	if perItem == 0 {
		perItem = mostPerItem
	}
	size := n * perItem
	if c, ok := s.claim(size); ok {
		if r.lists != nil {
			r.lists(w, n)
		}
		return c, nil
	}
	frame := 0
	if len(body) > workspaceSize {
		frame = bufferSize(len(body))
	}
	if int64(frame+size) > s.config.RequestMemory {
		return 0, refusalf(protocol.StatusOutOfMemory, "%v of %d keys takes %d bytes while it runs, and the server has %d for all requests: send fewer keys at a time",
			op, n, frame+size, s.config.RequestMemory)
	}
	return 0, errNoRoom
}

// warm has the store fetch what the single-key requests of the batch will touch. Where these are plain GETs alone, gets does so.
func (c *conn) warm(w *workspace) {
	p := w.batch
	if c.access == AccessNone || len(p) < protocol.HeaderSize || protocol.ParseHeader(p).Size() >= len(p) || onlyGets(p) {
		return
	}
	keys := w.keys[:0]
	for len(p) >= protocol.HeaderSize {
		size, _, plain := protocol.PlainGet(p)
		if size > min(len(p), protocol.SizeOf(c.limit)) || size < protocol.HeaderSize {
			break
		}
		if plain {
			keys = append(keys, p[protocol.HeaderSize:size])
		} else if h := protocol.ParseHeader(p); requests[h.Opcode].key != nil {
			if key, ok := requests[h.Opcode].key(h.Flags, p[protocol.HeaderSize:size]); ok {
				keys = append(keys, key)
			}
		}
		if len(keys) == keepItems {
			c.session.Warm(keys)
			keys = keys[:0]
		}
		p = p[size:]
	}
	c.session.Warm(keys)
	w.keys = keys
}

// check returns why a request with this header is refused whatever its body is. The order is the protocol's.
func (c *conn) check(h protocol.Header) error {
	switch {
	case h.Reserved != 0:
		return refusalf(protocol.StatusBadRequest, "the reserved bytes are 0x%04x, not 0", h.Reserved)
	case requests[h.Opcode].handle == nil:
		return refusalf(protocol.StatusUnknownOpcode, "no %v in protocol version %d", h.Opcode, protocol.Version)
	case c.access < requests[h.Opcode].needs.access():
		return c.Denied(h.Opcode.String())
	case !h.Opcode.AllowsFlags(h.Flags):
		return refusalf(protocol.StatusBadRequest, "%v with unknown flags 0x%02x", h.Opcode, h.Flags)
	}
	return nil
}

// answer answers one request.
func (c *conn) answer(w *workspace, h protocol.Header, body []byte) {
	err := c.check(h)
	switch {
	case err != nil:
	case len(body) > 4*keepItems:
		var lists claim
		if lists, err = c.server.claimItems(w, h.Opcode, body); err == nil {
			err = requests[h.Opcode].handle(c, w, h, body)
			w.clearLists()
			c.server.release(lists)
		}
	default:
		err = requests[h.Opcode].handle(c, w, h, body)
	}
	w.out.Drop()
	if err != nil && err != ErrAnswered {
		c.refuse(w, h, Failure(err))
	}
}

// refuse appends the answer e to a request, and counts it.
func (c *conn) refuse(w *workspace, h protocol.Header, e *protocol.Error) {
	w.out.Buf = appendRefusal(w.out.Buf, h.Opcode, h.ID, e)
	c.server.count(e.Status)
}
