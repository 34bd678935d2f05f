package netserver

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"kv/protocol"
)

// Dismissal is why a connection is not served, in words. They go to clients.
type Dismissal struct {
	Loading bool // the server is not there yet; else there are too many connections
	Message string
}

var tooMany = Dismissal{Message: "too many connections"}

// firstTime is how long the first byte of a connection that is dismissed is waited for: it says which protocol the
// client understands.
const firstTime = 250 * time.Millisecond

// dismiss tells nc why it is not served, after a handshake where TLS is spoken, and closes it: in the words of the door
// that its first byte is for, or as a kv frame with UNAVAILABLE.
func dismiss(nc net.Conn, secure *tls.Config, doors []Door, why Dismissal) {
	defer nc.Close()
	end := time.Now().Add(lingerTime)
	nc.SetDeadline(end)
	over := nc
	if secure = secureFor(nc, secure); secure != nil {
		t := tls.Server(nc, secure)
		if t.Handshake() != nil {
			return
		}
		over = t
	}
	answer := appendRefusal(nil, 0, 0, &protocol.Error{Status: protocol.StatusUnavailable, Message: why.Message})
	first := make([]byte, 1)
	over.SetReadDeadline(time.Now().Add(firstTime))
	if n, _ := over.Read(first); n > 0 && first[0] >= maxFirstByte {
		for _, d := range doors {
			if text := d.Dismiss(first, why); text != nil {
				answer = text
				break
			}
		}
	}
	if _, err := over.Write(answer); err != nil {
		return
	}
	if t, ok := over.(*tls.Conn); ok && t.CloseWrite() != nil {
		return
	}
	linger(nc)
}

// Listener is what TurnAway needs: of package net, TCP and Unix listeners are such.
type Listener interface {
	net.Listener
	// SetDeadline ends an Accept that waits then.
	SetDeadline(t time.Time) error
}

// TurnAway answers for a server that is not there yet: until ctx ends, it accepts connections on l, tells each that it
// is loading, with what message returns then, as kv frames or the door that a client is at have it, and closes it. At
// most 64 are told at a time, each for a second at most; others are closed without a word. Then l is as it was, and can
// be served on. secure is spoken where it is not nil.
func TurnAway(ctx context.Context, l Listener, secure *tls.Config, doors []Door, message func() string) {
	stop := context.AfterFunc(ctx, func() { l.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	told := make(chan struct{}, maxRefusing) // one for each that is being told
	for {
		nc, err := l.Accept()
		if err == nil {
			select {
			case told <- struct{}{}:
				why := Dismissal{Loading: true, Message: message()} // by one goroutine
				go func() {
					dismiss(nc, secure, doors, why)
					<-told
				}()
			default:
				nc.Close()
			}
			continue
		}
		if ctx.Err() != nil {
			l.SetDeadline(time.Time{})
			return
		}
		select { // out of descriptors or memory
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}
