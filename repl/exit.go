package repl

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"kv/protocol"
	"kv/repl/files"
	"kv/repl/text"
)

// The exit codes of kvc. They are promised: help exit-codes and docs/cli.md list them.
const (
	exitDone     = 0
	exitNothing  = 1 // get, meta, history, rollback, expire or persist found nothing, cluster something wrong
	exitUsage    = 2 // wrong usage or input, a local file that can't be read or made
	exitConflict = 3 // a condition did not hold
	exitRefused  = 4 // the server refused
	exitBroken   = 5 // no connection, a timeout, a broken one, or stdout can't be written
)

// usageError is the error of a command that was written wrongly.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// fileError is the error of a local file that can't be read, or of input that makes no sense.
type fileError struct{ err error }

func (e fileError) Error() string { return e.err.Error() }
func (e fileError) Unwrap() error { return e.err }

// outputError is the error of writing to stdout.
type outputError struct{ err error }

func (e outputError) Error() string {
	var path *os.PathError // it would name /dev/stdout, which we say better
	if errors.As(e.err, &path) {
		return "can't write to stdout: " + path.Err.Error()
	}
	return "can't write to stdout: " + e.err.Error()
}
func (e outputError) Unwrap() error { return e.err }

// notFoundError says what was not found; it counts as protocol.ErrNotFound.
type notFoundError struct{ what string }

func (e notFoundError) Error() string        { return "not found: " + e.what }
func (e notFoundError) Is(target error) bool { return target == error(protocol.ErrNotFound) }

// conflictError says which condition did not hold; it counts as protocol.ErrConflict.
type conflictError struct{ what string }

func (e conflictError) Error() string        { return e.what }
func (e conflictError) Is(target error) bool { return target == error(protocol.ErrConflict) }

// tooMuch adds to the error of a request what else there is, if the request was too large.
func tooMuch(err error, instead string) error {
	if errors.Is(err, protocol.ErrTooLarge) || errors.Is(err, protocol.ErrOutOfMemory) {
		return fmt.Errorf("%w (%s)", err, instead)
	}
	return err
}

// lineError is an error at a line of a script.
type lineError struct {
	line int
	err  error
}

func (e lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e lineError) Unwrap() error { return e.err }

// exitCode is the exit code of a run that ended with err.
func exitCode(err error) int {
	if err == nil {
		return exitDone
	}
	var usage usageError
	var file fileError
	var name *files.NameError
	var syntax *text.SyntaxError
	var refused *protocol.Error
	var output outputError
	switch {
	case errors.As(err, &output):
		return exitBroken
	case errors.As(err, &usage), errors.As(err, &file), errors.As(err, &name), errors.As(err, &syntax),
		errors.Is(err, text.ErrNotUTF8):
		return exitUsage
	case errors.Is(err, protocol.ErrNotFound):
		return exitNothing
	case isUnwell(err):
		return exitUnwell
	case errors.Is(err, protocol.ErrConflict):
		return exitConflict
	case errors.As(err, &refused):
		return exitRefused
	}
	return exitBroken
}

// silent reports whether err is no news to the user: the reader of stdout went away, as head does.
func silent(err error) bool {
	var output outputError
	return errors.As(err, &output) && errors.Is(err, syscall.EPIPE)
}
