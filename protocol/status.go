package protocol

import (
	"errors"
	"fmt"
	"strings"
)

// Status says how a request ended.
type Status uint8

// The statuses of version 1. The numbers are frozen.
const (
	StatusOK              Status = 0
	StatusNotFound        Status = 1
	StatusConflict        Status = 2
	StatusBadRequest      Status = 3
	StatusTooLarge        Status = 4
	StatusOutOfMemory     Status = 5
	StatusUnauthenticated Status = 6
	StatusForbidden       Status = 7
	StatusUnknownOpcode   Status = 8
	StatusUnavailable     Status = 9
	StatusInternal        Status = 10
	StatusMoved           Status = 11
	StatusStale           Status = 12
	StatusCrossGroup      Status = 13 // reserved
)

var statuses = [...]string{
	"ok", "not found", "conflict", "bad request", "too large", "out of memory",
	"unauthenticated", "forbidden", "unknown opcode", "unavailable", "internal error", "moved", "stale", "keys of several groups",
}

// String returns the status in words, as error messages quote it.
func (s Status) String() string {
	if int(s) < len(statuses) {
		return statuses[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Error is a status other than OK, with what its body said.
type Error struct {
	Status  Status
	Message string // for a person, may be empty; Moved: the address of the server to ask instead, and nothing else
	Version uint64 // Conflict: the key's current version, 0 when it is absent
	Index   int    // Conflict of a TXN: which condition failed, counted from 0
}

// The errors that an Error matches with [errors.Is], by status alone.
var (
	ErrNotFound        = &Error{Status: StatusNotFound}
	ErrConflict        = &Error{Status: StatusConflict}
	ErrBadRequest      = &Error{Status: StatusBadRequest}
	ErrTooLarge        = &Error{Status: StatusTooLarge}
	ErrOutOfMemory     = &Error{Status: StatusOutOfMemory}
	ErrUnauthenticated = &Error{Status: StatusUnauthenticated}
	ErrForbidden       = &Error{Status: StatusForbidden}
	ErrUnknownOpcode   = &Error{Status: StatusUnknownOpcode}
	ErrUnavailable     = &Error{Status: StatusUnavailable}
	ErrInternal        = &Error{Status: StatusInternal}
	ErrMoved           = &Error{Status: StatusMoved}
	ErrStale           = &Error{Status: StatusStale}
	ErrCrossGroup      = &Error{Status: StatusCrossGroup}
)

// Error returns the status and, where the server gave one, its message, which may begin with the status itself.
func (e *Error) Error() string {
	status := e.Status.String()
	if rest, ok := strings.CutPrefix(e.Message, status); ok && (rest == "" || rest[0] == ':') {
		return e.Message
	}
	if e.Message == "" {
		return status
	}
	return status + ": " + e.Message
}

// Is reports whether target is an Error with the same status.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Status == e.Status
}

// What messages say that programs go by, since no status does. Servers and clients that do must use these words.
const (
	// MessageNothingApplied is in the message of an UNAVAILABLE or INTERNAL after which the request has certainly changed
	// nothing.
	MessageNothingApplied = "nothing was applied"
	// MessageStaleCursor is the message of the BAD_REQUEST for a cursor that another process of kvd gave.
	MessageStaleCursor = "stale cursor"
)

// StaleCursor reports whether a page of SCAN or PURGE was refused because another process gave the cursor. The first page
// can be asked for again.
func (e *Error) StaleCursor() bool {
	return e.Status == StatusBadRequest && e.Message == MessageStaleCursor
}

// NotApplied reports whether a write that was answered so has certainly changed nothing. After UNAVAILABLE and INTERNAL
// it may have, unless the message says that nothing was applied, as kvd's does where no server leads.
func (e *Error) NotApplied() bool {
	switch e.Status {
	case StatusUnavailable, StatusInternal:
		return strings.Contains(e.Message, MessageNothingApplied)
	}
	return e.Status != StatusOK
}

// ErrMalformed is what the parsers of responses return for a body that the specification does not allow. (Those of
// requests return an *Error, to be sent as it is.)
var ErrMalformed = errors.New("malformed answer")

func malformedf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// badf makes the error of a request's malformed body.
func badf(format string, args ...any) error {
	return &Error{Status: StatusBadRequest, Message: fmt.Sprintf(format, args...)}
}

// ParseError returns the error that a response with this opcode, status and body stands for: nil where the status is OK,
// an *Error, or one that matches ErrMalformed.
func ParseError(op Opcode, status Status, body []byte) error {
	switch status {
	case StatusOK:
		return nil
	case StatusConflict:
		e := &Error{Status: status}
		r := reader{b: body}
		if op == OpTxn {
			e.Index = int(r.u32())
		}
		e.Version = r.u64()
		if !r.done() {
			return malformedf("a conflict of %v with a body of %d bytes", op, len(body))
		}
		return e
	}
	return &Error{Status: status, Message: string(body)}
}
