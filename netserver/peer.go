package netserver

import (
	"crypto/tls"
	"net"
)

// isUnix reports whether nc came by a Unix socket.
func isUnix(nc net.Conn) bool { return nc.LocalAddr().Network() == "unix" }

// secureFor returns what TLS is spoken by on nc; nil: none. A Unix socket has none: nobody is on the way to who is at
// its other end, and the kernel says who that is.
func secureFor(nc net.Conn, secure *tls.Config) *tls.Config {
	if isUnix(nc) {
		return nil
	}
	return secure
}

// remoteOf returns the address of who is at the other end of nc; of a Unix socket, which has none there, his process and user.
func remoteOf(nc net.Conn) net.Addr {
	if isUnix(nc) {
		return address(peerOf(nc))
	}
	return nc.RemoteAddr()
}
