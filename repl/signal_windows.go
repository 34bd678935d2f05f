package repl

import (
	"os"
	"syscall"
)

// endBy ends the process as a shell tells of one that the signal has ended.
func endBy(s syscall.Signal) { os.Exit(128 + int(s)) }

// notifyResized never sends: nobody tells.
func notifyResized(chan<- os.Signal) {}
