package repl

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"

	"kv/repl/words"
)

// errExit ends a script or the shell.
var errExit = errors.New("exit")

// runScript runs the commands that stdin holds, one a line, until the first that fails; with keepGoing it runs the others
// too, and returns the first error.
func (s *session) runScript(ctx context.Context, keepGoing bool) error {
	s.mode = script
	in := newLines(bufio.NewReaderSize(newInput(ctx, s.env.In), 64<<10))
	var first error
	for {
		l, err := in.next()
		if err == io.EOF {
			break
		}
		unreadable := errors.As(err, new(fileError))
		if err == nil {
			if err = s.timed(ctx, l.words); err == errExit {
				break
			}
			if err != nil {
				err = lineError{l.number, err}
			}
		} else {
			s.fail()
		}
		if err == nil || errors.Is(err, errTxnFailed) { // of the latter was said what made it fail
			continue
		}
		if first == nil {
			first = err
		}
		if !keepGoing || unreadable || ctx.Err() != nil || s.stdout.err != nil {
			s.txn = nil
			return first
		}
		s.complain(err)
	}
	if s.txn != nil {
		s.txn = nil
		err := usagef("the input ends inside a transaction: nothing of it was applied")
		if keepGoing {
			s.complain(err)
		}
		if first == nil {
			first = err
		}
	}
	if keepGoing && first != nil {
		return reported{first}
	}
	return first
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
