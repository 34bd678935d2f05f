package client

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const (
	// A keeper waits between firstPause/2 and firstPause before it dials for the second time, then twice as long each time, up to
	// lastPause. One that had a connection for longer than that begins anew.
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
	// checkEvery is how long a server may be silent until it is asked whether it lives, and how long it then has to
	// answer.
	checkEvery = 5 * time.Second
	// steadyTime is how long a connection was there that was of use: when it is gone, others are dialled soon.
	steadyTime = time.Second
)

// link is a place for one connection, which its keeper dials, again whenever the connection is lost.
type link struct {
	addr   string                 // fixed
	client atomic.Pointer[Client] // publishes the connection; nil: there is none. The keeper stores
	// failure is why the last dial failed; nil: it did not, or none has ended. failures is how many have. Guarded by Pool.mu.
	failure  error
	failures int
	wanted   chan struct{} // holds a token when another server says that this one leads, or is gone itself: then this one is dialled soon
}

// keep keeps l connected until the Pool is closed.
func (p *Pool) keep(l *link) {
	pause := firstPause
	for p.ctx.Err() == nil {
		began := time.Now()
		ctx, cancel := context.WithTimeout(p.ctx, p.options.Timeout)
		c, err := dialOne(ctx, l.addr, p.options.Options)
		cancel()
		p.notify(func() {
			l.failure = err
			if err != nil {
				l.failures++
			}
			l.client.Store(c)
		})
		if err == nil {
			p.watch(c)
			l.client.Store(nil)
			c.Close()
			for _, other := range *p.links.Load() { // where requests go now: a pause is for servers that nobody needs
				if other != l && time.Since(began) > steadyTime {
					other.want()
				}
			}
			if time.Since(began) > lastPause {
				pause = firstPause
			}
		}
		p.rest(l, pause/2+rand.N(pause/2))
		pause = min(2*pause, lastPause)
	}
}

// want has l dialled soon, if it has no connection.
func (l *link) want() {
	if l.client.Load() == nil {
		select {
		case l.wanted <- struct{}{}:
		default:
		}
	}
}

// rest waits until l is to be dialled again: as the pause says, or where it is wanted as after the first failure.
func (p *Pool) rest(l *link, pause time.Duration) {
	p.sleep(p.ctx, min(pause, firstPause/2))
	timer := time.NewTimer(pause - firstPause/2)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.wanted:
	case <-p.ctx.Done():
	}
}

// watch returns when the connection is broken, or the Pool closed. When nothing has come for a while it asks the server
// whether it lives.
func (p *Pool) watch(c *Client) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.Done():
			return
		case <-p.ctx.Done():
			return
		case <-tick.C:
		}
		if time.Since(c.lastHeard()) < checkEvery {
			continue
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(p.ctx, checkEvery)
		err := c.Ping(ctx, nil)
		cancel()
		if err != nil && !c.lastHeard().After(began) {
			return
		}
	}
}
