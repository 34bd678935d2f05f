package netserver

import (
	"errors"
	"net"
	"os"
	"time"
)

// patient is a connection whose writes wait as long as the other side takes something, however little, every timeout.
type patient struct {
	net.Conn
	timeout time.Duration
}

// Write sends all of p. The error matches errSlowRead if the other side took nothing for the timeout.
func (p *patient) Write(b []byte) (int, error) {
	sent := 0
	err := p.insist(func() (int64, error) {
		n, err := p.Conn.Write(b[sent:])
		sent += n
		return int64(n), err
	})
	return sent, err
}

// writeBuffers is Write for several pieces, in as few system calls as the connection allows. It consumes list.
func (p *patient) writeBuffers(list *net.Buffers) error {
	return p.insist(func() (int64, error) { return list.WriteTo(p.Conn) })
}

// insist calls write, which sends what it can before the deadline and remembers how far it came, until all is sent or
// nothing was.
func (p *patient) insist(write func() (int64, error)) error {
	defer p.Conn.SetWriteDeadline(time.Time{})
	for {
		if err := p.Conn.SetWriteDeadline(time.Now().Add(p.timeout)); err != nil {
			return err
		}
		n, err := write()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if n == 0 {
			return errSlowRead
		}
	}
}
