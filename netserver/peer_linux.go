package netserver

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerOf says which process, of which user, connected by a Unix socket. Both are of when it did.
func peerOf(nc net.Conn) string {
	raw := socketOf(nc)
	if raw == nil {
		return "unix"
	}
	var peer *unix.Ucred
	err := raw.Control(func(fd uintptr) { peer, _ = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || peer == nil {
		return "unix"
	}
	return fmt.Sprintf("unix:pid=%d,uid=%d,gid=%d", peer.Pid, peer.Uid, peer.Gid)
}
