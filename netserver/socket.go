package netserver

import (
	"net"
	"syscall"
)

// socketOf returns the socket of nc; nil if nc is not just a socket. A type that embeds one of these has the socket too, but
// may have a Read or a Write of its own, which must not be passed by.
func socketOf(nc net.Conn) syscall.RawConn {
	var raw syscall.RawConn
	var err error
	switch nc := nc.(type) {
	case *net.TCPConn:
		raw, err = nc.SyscallConn()
	case *net.UnixConn:
		raw, err = nc.SyscallConn()
	}
	if err != nil {
		return nil
	}
	return raw
}
