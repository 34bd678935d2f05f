//go:build unix

package main

import (
	"math"
	"syscall"
)

// descriptorLimit is how many descriptors the process may have. The Go runtime has raised the soft limit to the hard one already.
func descriptorLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt
	}
	return int(min(uint64(limit.Cur), math.MaxInt32))
}
