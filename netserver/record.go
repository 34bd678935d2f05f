package netserver

import "encoding/binary"

// records follows the records of TLS in what has come of a connection, to know whether a part of one has: crypto/tls
// keeps that, and takes the memory of a whole one for it, but does not tell.
type records struct {
	head [recordHead]byte // what has come of a record's header
	have uint8            // so many bytes
	rest uint16           // how many bytes of its body are to come
}

// recordHead is how long the header of a record is: its type, a version, and in two bytes the length of its body.
const recordHead = 5

// halfway reports whether a part of a record has come.
func (r *records) halfway() bool { return r.have > 0 || r.rest > 0 }

// follow takes note of what has come.
func (r *records) follow(p []byte) {
	for len(p) > 0 {
		if r.rest > 0 {
			n := min(int(r.rest), len(p))
			r.rest -= uint16(n)
			p = p[n:]
			continue
		}
		n := copy(r.head[r.have:], p)
		r.have += uint8(n)
		p = p[n:]
		if r.have == recordHead {
			r.rest, r.have = binary.BigEndian.Uint16(r.head[3:]), 0
		}
	}
}
