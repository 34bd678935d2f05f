//go:build (amd64 || arm64) && !race

package table

// prefetches says whether prefetch does anything. With the race detector it does nothing, since Table.Prefetch reads what
// the detector must not see it read.
const prefetches = true

// prefetch has the processor begin to load the cache line at this address, and does not wait. The address may be any: a
// bad one does nothing. Go's own intrinsic for the instruction is for its runtime alone.
//
//go:noescape
func prefetch(at uintptr)
