//go:build unix

package main

import (
	"log/slog"
	"syscall"
)

// spareDescriptors are for the log, the listeners, and connections that are turned away.
const spareDescriptors = 128

// checkDescriptors warns where the system does not grant a descriptor for each connection. The Go runtime has raised the
// soft limit to the hard one already.
func checkDescriptors(o options, log *slog.Logger) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	if need := uint64(o.maxConnections) + spareDescriptors; uint64(limit.Cur) < need {
		log.Warn("not enough file descriptors for --max-connections: raise the limit (ulimit -Hn), or lower that",
			"limit", limit.Cur, "needed", need)
	}
}
