package repl

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"kv/repl/words"
)

// errExit ends a script or the shell.
var errExit = errors.New("exit")

// runScript runs the commands that stdin holds, one a line, until the first that fails; with keepGoing it runs the others
// too, and returns the first error.
func (s *session) runScript(ctx context.Context, keepGoing bool) error {
	s.mode = script
	in := newLines(bufio.NewReaderSize(s.env.In, 64<<10))
	var first error
	skipping := false // the rest of a transaction that failed: its commands must not run by themselves
	for {
		unreadable := false
		l, err := in.next()
		if err == io.EOF {
			break
		}
		if err == nil && skipping {
			skipping = !ends(l.words)
			continue
		}
		if err == nil {
			open := s.txn != nil
			err = s.timed(ctx, l.words)
			if err == errExit {
				break
			}
			if err != nil {
				err = lineError{l.number, err}
				skipping = open && !ends(l.words)
			}
		} else {
			skipping = s.txn != nil
			unreadable = errors.As(err, new(fileError))
		}
		if err == nil {
			continue
		}
		s.txn = nil
		if first == nil {
			first = err
		}
		if !keepGoing || unreadable || ctx.Err() != nil || s.stdout.err != nil {
			return first
		}
		s.complain(err)
	}
	if s.txn != nil || skipping {
		s.txn = nil
		if first == nil {
			first = usagef("the input ends inside a transaction: nothing of it was applied")
		}
	}
	if keepGoing && first != nil {
		return reported{first}
	}
	return first
}

// ends reports whether the command ends a transaction.
func ends(ws []words.Word) bool {
	name := strings.ToLower(ws[0].Text)
	return name == "commit" || name == "abort"
}

// reported is an error that was printed already.
type reported struct{ error }

func (r reported) Unwrap() error { return r.error }

// timed runs one command, and says how long it took where that is wanted.
func (s *session) timed(ctx context.Context, ws []words.Word) error {
	start := time.Now()
	err := s.run(ctx, ws)
	if took := time.Since(start); s.timing || s.mode == interactive && took > slow {
		s.notef("(%s)", seconds(took))
	}
	return err
}
