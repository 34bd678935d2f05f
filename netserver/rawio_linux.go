package netserver

import (
	"net"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receipt is what recvmsg needs besides the buffer. It is part of a workspace, so that a read does not allocate.
type receipt struct {
	header  unix.Msghdr
	vector  unix.Iovec
	control [64]byte
}

// rawConn returns nc's socket, for reads and writes that do not wait; nil if nc is not just a socket.
//
// The socket is told to say with each read how much is left to be read, the end of the stream counting as something
// (TCP_INQ in Linux, 4.18 and later). Without that only one more read, which finds nothing, tells that it is safe to
// wait. So it is with a Unix socket: what that says, SO_INQ in 6.17 and later, does not count the end, which may have
// come together with what was read, and then nothing would wake who waits.
func rawConn(nc net.Conn) syscall.RawConn {
	raw := socketOf(nc)
	if raw != nil && !isUnix(nc) {
		// An older kernel refuses, and readFD then never says that nothing is left.
		_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_INQ, 1) })
	}
	return raw
}

// readFD reads what is there. EAGAIN: nothing is; 0 and no error: nothing will be. drained: nothing is left, and the end has
// not come either, so the next wake-up is for whatever comes next.
//
// It and writeFD don't tell the scheduler of the system call: neither waits, and each takes microseconds.
func readFD(fd int, p []byte, r *receipt) (n int, drained bool, err error) {
	r.vector.Base = unsafe.SliceData(p)
	r.vector.SetLen(len(p))
	r.header.Iov = &r.vector
	r.header.SetIovlen(1)
	r.header.Control = &r.control[0]
	for {
		r.header.SetControllen(len(r.control))
		got, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.header)), unix.MSG_DONTWAIT)
		if errno == unix.EINTR {
			continue
		}
		runtime.KeepAlive(p)
		r.vector.Base = nil // the workspace must not keep a large frame alive
		if errno != 0 {
			return 0, false, errno
		}
		return int(got), r.left() == 0, nil
	}
}

// left returns how many bytes the last read left behind; -1: the kernel did not say.
func (r *receipt) left() int32 {
	if r.header.Controllen < uint64(unix.CmsgLen(4)) {
		return -1
	}
	c := (*unix.Cmsghdr)(unsafe.Pointer(&r.control[0]))
	if c.Level != unix.IPPROTO_TCP || c.Type != unix.TCP_CM_INQ {
		return -1
	}
	return *(*int32)(unsafe.Pointer(&r.control[unix.CmsgLen(0)]))
}

// writeFD writes as much as there is room for, and says how much that was.
func writeFD(fd int, p []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))),
			uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
