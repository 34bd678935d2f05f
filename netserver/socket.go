package netserver

import (
	"net"
	"syscall"
)

// socketOf returns the socket below nc; nil if nc is more than that, or has none.
func socketOf(nc net.Conn) syscall.RawConn {
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
