package netserver

import (
	"time"

	"kv/protocol"
)

// login is what a connection knows of the user that it acts for.
type login struct {
	user    string
	account account
	users   *users // the file that has him so
}

const (
	// loginLimit is the longest request of somebody who has not logged in that is kept while it arrives.
	loginLimit = 4 << 10
	// maxWrong is how many logins may fail on a connection before it is closed.
	maxWrong = 3
	// loginDelay is how long the answer to a failed login takes.
	loginDelay = 250 * time.Millisecond
	// maxDelayed is how many answers are delayed at a time, since each holds on to a workspace. A login that fails beyond that
	// closes its connection instead. (Others are not refused for it: guessing must not keep out those who know.)
	maxDelayed = 64
)

// logOut leaves the connection with what everyone has who has not logged in, and FrameTimeout to do so.
func (c *conn) logOut() {
	c.access, c.limit, c.login = accessNone, min(loginLimit, c.server.config.Limit), nil
	if c.loginBy.IsZero() {
		c.loginBy = time.Now().Add(c.server.config.FrameTimeout)
	}
}

// logIn makes the connection this user's. If user or secret are wrong it is nobody's.
func (c *conn) logIn(w *workspace, h protocol.Header, user, secret []byte) error {
	s := c.server
	if l := s.config.Accounts.check(user, secret); l != nil {
		c.login, c.access, c.limit, c.loginBy = l, l.account.access, s.config.Limit, time.Time{}
		return nil
	}
	c.logOut()
	c.arm()
	if len(user)+len(secret) == 0 {
		return c.denied(h.Opcode) // that is no guess
	}
	c.wrong++
	s.loginFailures.Add(1)
	s.complain(&s.complaints.login, c.nc, "a login failed", "user", string(user[:min(len(user), 64)]))

	if !c.flush(w) { // what was answered before does not wait
		return errAnswered
	}
	if c.wrong < maxWrong && s.delay() {
		return errWrongLogin
	}
	c.refuse(w, h, errWrongLogin)
	c.flush(w)
	c.stop(errGuessing)
	return errAnswered
}

var errWrongLogin = &protocol.Error{Status: protocol.StatusUnauthenticated, Message: "wrong user or secret"}

// delay waits for loginDelay, less if the server drains. It returns false if too many wait already.
func (s *Server) delay() bool {
	select {
	case s.delayed <- struct{}{}:
	default:
		return false
	}
	defer func() { <-s.delayed }()
	timer := time.NewTimer(loginDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.context.Done():
	}
	return true
}

// lapsed reports whether the user that the connection acts for is not what he was when he logged in. It is asked before
// what has come is looked at, and before each wait, after its deadline is set: see Server.draining.
func (c *conn) lapsed() bool {
	l := c.login
	if l == nil {
		return false
	}
	now := c.server.config.Accounts.users.Load()
	if now == l.users {
		return false
	}
	if (*now)[l.user] != l.account {
		return true
	}
	l.users = now
	return false
}

// late reports whether somebody should have logged in by now.
func (c *conn) late(now time.Time) bool { return !c.loginBy.IsZero() && !now.Before(c.loginBy) }
