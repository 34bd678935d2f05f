package cluster

import (
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// outlet is what is written of a stream.
type outlet struct {
	conn alive
	raw  syscall.RawConn // the connection's, to be written to without waiting; nil: it can't be

	mu     sync.Mutex // held by who writes
	buf    []byte     // what is encoded and not written
	failed error      // why nothing is written any more
}

func newOutlet(c net.Conn, within time.Duration) *outlet {
	o := &outlet{conn: alive{c, within}}
	if t, ok := c.(*net.TCPConn); ok { // a connection inside of another, such as TLS, is written to by the outer one alone
		o.raw, _ = t.SyscallConn()
	}
	return o
}

// encode appends a message to what is to be written. Called with mu held.
func (o *outlet) encode(m *pb.Message) error {
	if o.failed != nil {
		return o.failed
	}
	at := len(o.buf)
	b, err := (proto.MarshalOptions{}).MarshalAppend(append(o.buf, make([]byte, frameHead)...), m)
	if err != nil {
		o.failed = fmt.Errorf("encode a message: %w", err)
		return o.failed
	}
	putFrameHead(b[at:])
	o.buf = b
	return nil
}

// try writes of messages what the connection takes at once, and reports whether that was all, and whether the
// connection is closed, so that they are lost. Called with mu held.
func (o *outlet) try(messages []*pb.Message) (all, closed bool) {
	for _, m := range messages {
		if o.encode(m) != nil {
			return false, false // write says so
		}
	}
	n := 0
	err := o.raw.Control(func(fd uintptr) {
		for {
			var err error
			if n, err = syscall.Write(int(fd), o.buf); err != syscall.EINTR {
				return // what goes wrong is told to who waits for it: see write
			}
		}
	})
	n = max(n, 0)
	o.wrote(n)
	return err == nil && len(o.buf) == 0, err != nil
}

// write writes all that there is to be, and waits for that. Called with mu held.
func (o *outlet) write() error {
	if o.failed != nil {
		return o.failed
	}
	n, err := o.conn.Write(o.buf)
	o.wrote(n)
	return err
}

// wrote takes away what is written. Called with mu held.
func (o *outlet) wrote(n int) {
	switch rest := o.buf[n:]; {
	case len(rest) > 0:
		o.buf = append(o.buf[:0], rest...)
	case cap(o.buf) > 4*maxBatch:
		o.buf = nil
	default:
		o.buf = o.buf[:0]
	}
}
