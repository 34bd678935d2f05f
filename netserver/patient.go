package netserver

import (
	"errors"
	"net"
	"os"
	"time"
)

// patient is a connection whose writes wait for the client for as long as it takes enough of what it is sent: see [Owed].
type patient struct {
	net.Conn

	// The connection's goroutine's alone.
	timeout time.Duration
	owed    time.Duration // see Owed
	since   time.Time     // when the last write ended

	client *Client // whose waiting and began it keeps
}

// Write sends all of b. The error matches errSlowRead if the other side was too slow to take it.
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

// A write that waits looks how much the client has taken, looks times in a timeout, and more often if the timeout is long.
// What the client owes is as exact as that.
const (
	looks       = 32
	longestLook = 250 * time.Millisecond
)

// insist calls write, which sends what it can before the deadline and remembers how far it came, until everything is sent or
// the client owes too much.
func (p *patient) insist(write func() (int64, error)) error {
	now := time.Now()
	p.owed = Owed(p.owed, p.since.Sub(now), 0) // the time since then comes off
	defer p.client.waiting.Store(0)
	if p.client.began.Load() == 0 {
		p.client.began.Store(now.UnixNano())
	}
	for {
		if p.owed >= p.timeout {
			return errSlowRead
		}
		p.client.waiting.Store(now.Add(-p.owed).UnixNano())
		wait := max(min(p.timeout-p.owed, p.timeout/looks, longestLook), time.Millisecond)
		if err := p.Conn.SetWriteDeadline(now.Add(wait)); err != nil {
			return err
		}
		n, err := write()
		p.since = time.Now()
		p.owed = Owed(p.owed, p.since.Sub(now), n)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err // the deadline stays: only writes that set another come after it
		}
		now = p.since
	}
}
