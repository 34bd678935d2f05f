//go:build unix

package terminal

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitInput waits until the terminal has something to read that is not another program's, and returns with reading held.
func (k *keys) awaitInput() error {
	fds := []unix.PollFd{{Fd: int32(k.in.Fd()), Events: unix.POLLIN}}
	for {
		// Only who holds reading reads; nothing keeps another program from reading between the two, so look again.
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return err
		}
		k.reading.Lock()
		if n, err := unix.Poll(fds, 0); n > 0 && err == nil {
			return nil
		}
		k.reading.Unlock()
	}
}

// stopJob stops all processes of the foreground job, as a terminal does at Ctrl-Z, and returns when they go on.
func stopJob() { syscall.Kill(0, syscall.SIGTSTP) }

// notifyContinued sends to c when the job goes on.
func notifyContinued(c chan<- os.Signal) { signal.Notify(c, syscall.SIGCONT) }

// silence has a terminal not show what is typed, until restore is called.
func silence(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	silent := *before
	silent.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, setTermios, &silent); err != nil {
		return nil, err
	}
	return func() { unix.IoctlSetTermios(fd, setTermios, before) }, nil
}
