//go:build (amd64 || arm64) && !race

package table

// fetches says that Fetch does something: it looks where the race detector must not see it look.
const fetches = true

// fetchLine has the processor begin to fetch the line of its cache that this address is in. It does not wait for that,
// and whatever the address is, nothing else happens. Go has an intrinsic for it, for its runtime alone.
//
//go:noescape
func fetchLine(at uintptr)
