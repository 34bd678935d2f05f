//go:build kvformat1

package cluster

// A kvd with this tag reads what one from before format 2 did: for tests of an upgrade.
const formatNewest = 1
