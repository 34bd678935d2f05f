//go:build unix

package repl

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// endBy ends the process by the signal, which it does not catch any more.
func endBy(s syscall.Signal) {
	syscall.Kill(os.Getpid(), s)
	time.Sleep(time.Second) // the signal is on its way
}

// notifyResized sends to c when the terminal has another size.
func notifyResized(c chan<- os.Signal) { signal.Notify(c, syscall.SIGWINCH) }
