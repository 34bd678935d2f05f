package folder

import (
	"crypto/rand"
	"encoding/binary"
)

// NewID returns a random number for a store, never 0.
func NewID() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:])
		if id := binary.BigEndian.Uint64(b[:]); id != 0 {
			return id
		}
	}
}

// NewMemberID returns a random number for a node or a cluster, never 0, and below 2^53: people type it, and what reads it as JSON
// may take it for a float.
func NewMemberID() uint64 {
	for {
		if id := NewID() >> 11; id != 0 {
			return id
		}
	}
}
