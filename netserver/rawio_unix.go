//go:build unix

package netserver

import (
	"net"
	"syscall"
)

// rawConn returns nc's socket, for reads and writes that do not wait; nil if it has none of its own.
func rawConn(nc net.Conn) syscall.RawConn {
	p, ok := nc.(*patient)
	if !ok {
		return nil
	}
	sc, ok := p.Conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// readFD reads what is there. EAGAIN: nothing is; 0 and no error: nothing will be.
func readFD(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		if err != syscall.EINTR {
			return n, err
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
