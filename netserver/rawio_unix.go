//go:build unix && !linux

package netserver

import (
	"net"
	"syscall"
)

// receipt is what a read needs besides the buffer: here, nothing.
type receipt struct{}

// rawConn returns nc's socket, for reads and writes that do not wait; nil if nc is not just a socket.
func rawConn(nc net.Conn) syscall.RawConn { return socketOf(nc) }

// readFD reads what is there. EAGAIN: nothing is; 0 and no error: nothing will be. Whether anything is left it can't say.
func readFD(fd int, p []byte, _ *receipt) (n int, drained bool, err error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return n, false, err
		}
	}
}

// writeFD writes as much as there is room for, and says how much that was.
func writeFD(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Write(fd, p)
		switch err {
		case nil:
			return n, nil
		case syscall.EAGAIN:
			return 0, nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
