package netserver

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"kv/protocol"
)

// Access is what a client may do; each level includes those below.
type Access uint8

// The levels of access.
const (
	AccessNone  Access = iota // to log in
	AccessRead                // all that changes nothing
	AccessWrite               // all but what follows
	AccessAdmin               // to change who is in the cluster, and who leads it
)

// Access returns what c may do: where there are no Accounts, everything.
func (c *Client) Access() Access { return c.access }

// Denied returns the *protocol.Error to a request that c may not make, for want of access: UNAUTHENTICATED where nobody
// has logged in, else FORBIDDEN. what names the request.
func (c *Client) Denied(what string) error {
	if c.access == AccessNone {
		return refusalf(protocol.StatusUnauthenticated, "%s needs a HELLO with a user and a secret first", what)
	}
	if c.access == AccessWrite {
		return refusalf(protocol.StatusForbidden, "%s: this user may read and write, and not change the cluster", what)
	}
	return refusalf(protocol.StatusForbidden, "%s: this user may only read", what)
}

// Accounts are the users that may connect. They may be replaced while a server uses them: who is not there any more, or has
// another role or secret, then loses the connections that he has.
type Accounts struct {
	users atomic.Pointer[users] // publishes those of the file that was loaded last; nil: none was

	mu      sync.Mutex           // guards servers
	servers map[*Server]struct{} // which have connections of these users
}

// users are those of one file. They are never changed.
type users map[string]account

type account struct {
	access Access
	secret [sha256.Size]byte // the secret's hash
}

var roles = map[string]Access{"ro": AccessRead, "rw": AccessWrite, "admin": AccessAdmin}

// Load replaces the accounts by those in r, one a line: user:role:secret, where the role is ro, rw or admin and secret is the
// SHA-256 of the user's secret in hexadecimal. Blank lines and lines that begin with # are skipped. There must be a user at
// least. On an error, which names the line, the accounts stay as they were. When Load has returned, nothing that arrives is
// answered to a user who was removed or changed.
func (a *Accounts) Load(r io.Reader) error {
	users := make(users)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if err := checkEncoding(lines.Bytes()); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, ":")
		if len(fields) != 3 || fields[0] == "" {
			return fmt.Errorf("line %d is not user:role:sha256-of-secret", n)
		}
		role, ok := roles[fields[1]]
		if !ok {
			return fmt.Errorf("line %d: role %q is not ro, rw or admin", n, fields[1])
		}
		secret, err := hex.DecodeString(fields[2])
		if err != nil || len(secret) != sha256.Size {
			return fmt.Errorf("line %d: the secret's hash is not %d hexadecimal digits", n, 2*sha256.Size)
		}
		if _, twice := users[fields[0]]; twice {
			return fmt.Errorf("line %d: user %q is there twice", n, fields[0])
		}
		users[fields[0]] = account{role, [sha256.Size]byte(secret)}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(users) == 0 {
		return errors.New("there is no user in it, so nobody could log in; `kvd token` makes a line for one")
	}
	a.users.Store(&users)
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.servers {
		s.wakeAll()
	}
	return nil
}

// checkEncoding refuses a line of another encoding than UTF-8, or with a byte order mark, as kvc does with its inputs.
func checkEncoding(line []byte) error {
	switch {
	case bytes.HasPrefix(line, []byte("\xef\xbb\xbf")):
		return errors.New("the text begins with a byte order mark (the bytes EF BB BF): save it as UTF-8 without one")
	case bytes.HasPrefix(line, []byte("\xff\xfe")), bytes.HasPrefix(line, []byte("\xfe\xff")), bytes.IndexByte(line, 0) >= 0:
		return errors.New("the text is UTF-16 or UTF-32, not UTF-8: convert it, as with iconv -f UTF-16 -t UTF-8")
	}
	return nil
}

// watch has s look at its connections whenever the accounts are replaced.
func (a *Accounts) watch(s *Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.servers == nil {
		a.servers = make(map[*Server]struct{})
	}
	a.servers[s] = struct{}{}
}

// unwatch ends watch.
func (a *Accounts) unwatch(s *Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.servers, s)
}

// AccountLine returns the line that Load reads for a user with this role, ro, rw or admin, and secret.
func AccountLine(user, role string, secret []byte) (string, error) {
	if user == "" || strings.ContainsAny(user, ":\r\n") || strings.HasPrefix(user, "#") || strings.TrimSpace(user) != user {
		return "", fmt.Errorf("user %q: it can't be empty, begin with #, have a colon or a line break, or space around it", user)
	}
	if _, ok := roles[role]; !ok {
		return "", fmt.Errorf("role %q is not ro, rw or admin", role)
	}
	return fmt.Sprintf("%s:%s:%x", user, role, sha256.Sum256(secret)), nil
}

// check returns the login of the user with this secret, nil where either is wrong. It takes as long for a wrong user as for a
// wrong secret.
func (a *Accounts) check(user, secret []byte) *login {
	all := a.users.Load()
	var known account
	if all != nil {
		known = (*all)[string(user)]
	}
	given := sha256.Sum256(secret)
	if subtle.ConstantTimeCompare(given[:], known.secret[:]) == 0 || known.access == AccessNone {
		return nil
	}
	return &login{string(user), known, all}
}

// checkSecret returns the login of the one user with this secret, nil where there is none. It takes as long wherever in the file
// that is.
func (a *Accounts) checkSecret(secret []byte) *login {
	all := a.users.Load()
	if all == nil {
		return nil
	}
	given := sha256.Sum256(secret)
	var found *login
	matches := 0
	for user, known := range *all {
		if subtle.ConstantTimeCompare(given[:], known.secret[:]) == 1 {
			found = &login{user, known, all}
			matches++
		}
	}
	if matches != 1 {
		return nil
	}
	return found
}
