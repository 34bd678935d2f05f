package netserver

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"kv/protocol"
)

// dismiss tells nc UNAVAILABLE with this message, after a handshake where TLS is spoken, and closes it.
func dismiss(nc net.Conn, secure *tls.Config, message string) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(lingerTime))
	frame := appendRefusal(nil, 0, 0, &protocol.Error{Status: protocol.StatusUnavailable, Message: message})
	if secure = secureFor(nc, secure); secure == nil {
		if _, err := nc.Write(frame); err == nil {
			linger(nc)
		}
		return
	}
	t := tls.Server(nc, secure)
	if _, err := t.Write(frame); err == nil && t.CloseWrite() == nil {
		linger(nc)
	}
}

// Listener is what TurnAway needs: of package net, TCP and Unix listeners are such.
type Listener interface {
	net.Listener
	// SetDeadline ends an Accept that waits then.
	SetDeadline(t time.Time) error
}

// TurnAway answers for a server that is not there yet: until ctx ends, it accepts connections on l, tells each UNAVAILABLE with
// what message returns then, and closes it. At most 64 are told at a time, each for a second at most; others are closed without a
// word. Then l is as it was, and can be served on. secure is spoken where it is not nil.
func TurnAway(ctx context.Context, l Listener, secure *tls.Config, message func() string) {
	stop := context.AfterFunc(ctx, func() { l.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	told := make(chan struct{}, maxRefusing) // one for each that is being told
	for {
		nc, err := l.Accept()
		if err == nil {
			select {
			case told <- struct{}{}:
				text := message() // by one goroutine
				go func() {
					dismiss(nc, secure, text)
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
