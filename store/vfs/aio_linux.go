package vfs

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Linux's asynchronous I/O, of which only the sync is used here: the one call that it really does in the background for any
// file. See io_submit(2). The end is told through an eventfd, which the runtime's poller waits for as for a socket.

// iocb and ioEvent are struct iocb and struct io_event of linux/aio_abi.h, but for what is left 0, or not looked at, here.
type iocb struct {
	_       [2]uint64
	opcode  uint16
	_       int16
	fd      uint32
	_       [4]uint64
	flags   uint32
	eventFD uint32
}

type ioEvent struct {
	_      [2]uint64
	result int64
	_      int64
}

const (
	opFdsync     = 3 // IOCB_CMD_FDSYNC
	flagEventFD  = 1 // IOCB_FLAG_RESFD
	eventFDFlags = syscall.O_NONBLOCK | syscall.O_CLOEXEC
)

// syncer syncs one file at a time.
type syncer struct {
	context uintptr
	event   *os.File // an eventfd
	fd      uint32   // its descriptor
}

// syncers are the ones that are free.
var syncers syncerPool

type syncerPool struct {
	mu   sync.Mutex
	free []*syncer // guarded by mu
	none bool      // guarded by mu: this kernel, or its owner, does not let us
}

// sync syncs the file. It returns false if that can't be done in this way, and nothing was done.
func (p *syncerPool) sync(fd int) (done bool, err error) {
	s := p.take()
	if s == nil {
		return false, nil
	}
	done, err = s.sync(fd)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.none = p.none || !done
	p.free = append(p.free, s)
	return done, err
}

// work reports whether sync can be expected to do anything.
func (p *syncerPool) work() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.none
}

func (p *syncerPool) take() *syncer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.none {
		return nil
	}
	if last := len(p.free) - 1; last >= 0 {
		s := p.free[last]
		p.free = p.free[:last]
		return s
	}
	s := newSyncer()
	p.none = s == nil
	return s
}

// newSyncer returns nil where there is no asynchronous I/O.
func newSyncer() *syncer {
	s := &syncer{}
	if _, _, e := syscall.RawSyscall(syscall.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&s.context)), 0); e != 0 {
		return nil
	}
	fd, _, e := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, eventFDFlags, 0)
	if e != 0 {
		syscall.RawSyscall(syscall.SYS_IO_DESTROY, s.context, 0, 0)
		return nil
	}
	s.fd, s.event = uint32(fd), os.NewFile(fd, "eventfd")
	return s
}

func (s *syncer) sync(fd int) (done bool, err error) {
	order := &iocb{opcode: opFdsync, fd: uint32(fd), flags: flagEventFD, eventFD: s.fd}
	if _, _, e := syscall.RawSyscall(syscall.SYS_IO_SUBMIT, s.context, 1, uintptr(unsafe.Pointer(&order))); e != 0 {
		return false, nil // nothing was begun: this kernel, file system or sandbox does not let us
	}
	var count [8]byte
	if _, err := s.event.Read(count[:]); err != nil {
		return true, fmt.Errorf("wait for the kernel: %w", err)
	}
	var end ioEvent
	n, _, e := syscall.RawSyscall6(syscall.SYS_IO_GETEVENTS, s.context, 1, 1, uintptr(unsafe.Pointer(&end)), 0, 0)
	switch {
	case e != 0:
		return true, e
	case n != 1:
		return true, fmt.Errorf("the kernel told the end of %d syncs, not of 1", n)
	case end.result < 0:
		return true, syscall.Errno(-end.result)
	}
	return true, nil
}
