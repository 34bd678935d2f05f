package netserver

import (
	"math"
	"time"

	"kv/protocol"
)

// login is what is known of the user that a client acts as.
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

// User returns who has logged in; "": nobody has.
func (c *Client) User() string {
	if c.login == nil {
		return ""
	}
	return c.login.user
}

// Logout leaves c with what everyone has who has not logged in, and FrameTimeout to do so.
func (c *Client) Logout() {
	c.access, c.limit, c.login = AccessNone, min(loginLimit, c.server.config.Limit), nil
	if c.loginBy == 0 {
		c.loginBy = c.server.age() + c.server.config.FrameTimeout
	}
}

// Login makes c this user's. If user or secret are wrong, c is nobody's, and the error is a *protocol.Error that says
// UNAUTHENTICATED. It comes late, so what was answered before is to be sent first; and after it c may be barred. Where
// there are no Accounts, everyone may log in as anyone.
func (c *Client) Login(user, secret []byte) error {
	err := c.tryLogin(user, secret)
	if err == errWrongLogin {
		c.atone()
	}
	return err
}

// Barred reports whether too many logins have failed: the client is to be answered and his connection closed.
func (c *Client) Barred() bool { return c.barred }

// tryLogin is Login without the wait that errWrongLogin deserves: see atone.
func (c *Client) tryLogin(user, secret []byte) error {
	s := c.server
	if s.config.Accounts == nil {
		return nil
	}
	return c.become(s.config.Accounts.check(user, secret), user, len(user)+len(secret) > 0)
}

// LoginSecret is Login by a secret alone, of a client who does not say which user he is. A secret that two users have is
// nobody's.
func (c *Client) LoginSecret(secret []byte) error {
	if c.server.config.Accounts == nil {
		return nil
	}
	err := c.become(c.server.config.Accounts.checkSecret(secret), nil, len(secret) > 0)
	if err == errWrongLogin {
		c.atone()
	}
	return err
}

// become makes c the user of l, or, if that is nil, nobody: tried says whether he gave anything, which was wrong then.
func (c *Client) become(l *login, user []byte, tried bool) error {
	s := c.server
	if l != nil {
		c.login, c.access, c.limit, c.loginBy = l, l.account.access, s.config.Limit, 0
		return nil
	}
	c.Logout()
	if !tried {
		return errNoUser // that is no guess
	}
	c.wrong = min(c.wrong, math.MaxUint8-1) + 1
	s.loginFailures.Add(1)
	s.complain(&s.complaints.login, c.remote, "a login failed", "user", string(user[:min(len(user), 64)]))
	return errWrongLogin
}

// atone waits as long as the answer to a failed login takes. Who may not wait is barred.
func (c *Client) atone() {
	c.barred = c.barred || c.wrong >= maxWrong || !c.server.delay()
}

var (
	errWrongLogin = &protocol.Error{Status: protocol.StatusUnauthenticated, Message: "wrong user or secret"}
	errNoUser     = &protocol.Error{Status: protocol.StatusUnauthenticated, Message: "HELLO needs a user and a secret here"}
)

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

// Lapsed reports whether the user that the client acts as is not what he was when he logged in. It is asked before
// what has come is looked at, and before each wait, after its deadline is set: see Server.draining.
func (c *Client) Lapsed() bool {
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
func (c *Client) late() bool { return c.loginBy != 0 && c.server.age() >= c.loginBy }
