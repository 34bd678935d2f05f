package repl

import (
	"bufio"
	"context"
	"errors"
	"time"

	"kv/protocol"
	"kv/protocol/client"
)

// session is one run of kvc: a single command, a script, or the shell.
type session struct {
	env  Env
	opts options
	mode mode

	out     *bufio.Writer  // stdout, flushed at the end of each command
	stdout  *checkedWriter // below out
	scratch []byte         // recycled by what prints

	contexts *contexts      // nil: not read yet
	conn     *client.Client // nil: not connected
	user     string         // who conn was made as; "": nobody
	txn      *transaction   // nil: none is open
	timing   bool           // show the time of every command
	intoPipe bool           // stdout goes to a program: values are written as they are

	place placeInCluster // the server's
	// ask asks the person at the terminal for a line that the history never sees; nil: there is nobody.
	ask func(ctx context.Context, prompt string, echo bool) (string, error)
	// pressed waits for a key at the shell's terminal, until ctx ends; nil: this is no shell.
	pressed func(ctx context.Context) (rune, error)
}

func newSession(env Env) *session {
	s := &session{env: env, opts: defaultOptions()}
	s.openOutput()
	return s
}

func (s *session) close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// client returns the connection to the server. It makes a new one where there is none, or where the last is broken.
func (s *session) client(ctx context.Context) (*client.Client, error) {
	if s.conn != nil && s.connected() {
		return s.conn, nil
	}
	if s.txn != nil {
		s.fail()
		return nil, errTxnGone
	}
	s.close()
	addr, o, err := s.server(ctx)
	if err != nil {
		return nil, err
	}
	c, err := client.Dial(ctx, addr, o)
	if err != nil {
		return nil, s.whyNot(err, o)
	}
	s.conn, s.user = c, o.User
	return c, nil
}

// connected reports whether there is a connection, as far as is known.
func (s *session) connected() bool {
	if s.conn == nil {
		return false
	}
	select {
	case <-s.conn.Done():
		return false
	default:
		return true
	}
}

// client returns the connection of the session.
func (c *call) client() (*client.Client, error) { return c.session.client(c.ctx) }

// notFound turns a "not found" of the server, which may say why, into one that names the key.
func notFound(err error, what string) error {
	var e *protocol.Error
	switch {
	case !errors.As(err, &e) || e.Status != protocol.StatusNotFound:
		return err
	case e.Message != "":
		what += ": " + e.Message
	}
	return notFoundError{what}
}

// conflict turns a bare conflict of the server into one that names the key.
func conflict(err error, key []byte) error {
	var e *protocol.Error
	if !errors.As(err, &e) || e.Status != protocol.StatusConflict {
		return err
	}
	if e.Version == 0 {
		return conflictError{"conflict: " + shown(key) + " is absent; nothing was changed"}
	}
	return conflictError{"conflict: " + shown(key) + " has version " + decimal(e.Version) + "; nothing was changed"}
}

// slow is how long a command takes at least for the shell to say so unasked.
const slow = 500 * time.Millisecond
