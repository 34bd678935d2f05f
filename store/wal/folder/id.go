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
