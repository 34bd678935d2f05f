//go:build !linux

package netserver

import "net"

// peerOf says who connected by a Unix socket: here, no more than that it was one.
func peerOf(net.Conn) string { return "unix" }
