package vfstest

import (
	"bytes"
	"math/rand/v2"
	"slices"
)

// inode is a file's content, whatever its name.
type inode struct {
	data   []byte
	synced []byte   // as of the last Sync
	shared bool     // data may share memory with synced, or with another file system
	ghosts [][2]int // stretches of data that no Sync will make durable: see FailSync
}

// crashBlock is how much of a file a crash keeps or loses at a time.
const crashBlock = 512

// own makes it safe to change data: what was synced keeps its bytes.
func (n *inode) own() {
	if n.shared {
		n.data, n.shared = slices.Clone(n.data), false
	}
}

// crash returns what a crash leaves of the content; keep says of each block whether the new state is there. See Mem.Crash.
func (n *inode) crash(percent int, rng *rand.Rand, keep func() bool) []byte {
	old, now := n.synced, n.data
	if len(now) < len(old) { // it was cut
		if keep() {
			return slices.Clone(now)
		}
		return slices.Clip(old)
	}
	out := make([]byte, len(now)) // what is new and was lost, before something that was kept, is zeros
	copy(out, old)
	end := len(old)
	for at := 0; at < len(now); {
		next := min((at/crashBlock+1)*crashBlock, len(now))
		if changed := next > len(old) || !bytes.Equal(out[at:next], now[at:next]); changed && keep() {
			till := next
			if percent < 100 && rng.IntN(4) == 0 {
				till = at + rng.IntN(next-at+1)
			}
			copy(out[at:till], now[at:till])
			end = max(end, till)
		}
		at = next
	}
	return out[:end:end]
}
