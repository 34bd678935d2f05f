package netserver

import (
	"errors"
	"fmt"

	"kv/protocol"
	"kv/store"
)

func refusalf(status protocol.Status, format string, args ...any) error {
	return &protocol.Error{Status: status, Message: fmt.Sprintf(format, args...)}
}

// Failure returns what a client is told of an error of the store's, or of anything that a request needs. An error that is one
// already it returns as it is.
func Failure(err error) *protocol.Error {
	var refusal *protocol.Error
	if errors.As(err, &refusal) {
		return refusal
	}
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return &protocol.Error{Status: protocol.StatusConflict, Version: conflict.Version, Index: conflict.Index}
	}
	var moved *store.MovedError
	if errors.As(err, &moved) && moved.Leader != "" {
		return &protocol.Error{Status: protocol.StatusMoved, Message: moved.Leader}
	}
	if err == store.ErrOutOfMemory { // else it says more
		return &protocol.Error{Status: protocol.StatusOutOfMemory, Message: full}
	}
	if errors.Is(err, store.ErrStaleCursor) {
		return &protocol.Error{Status: protocol.StatusBadRequest, Message: protocol.MessageStaleCursor}
	}
	if errors.Is(err, store.ErrNoVersion) {
		return notKept(!errors.Is(err, store.ErrNoHistory))
	}
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return &protocol.Error{Status: f.status, Message: err.Error()}
		}
	}
	return &protocol.Error{Status: protocol.StatusInternal, Message: err.Error()}
}

// full is what a client is told that writes to a store which has reached its limit.
const full = "the data take all that the server's --max-memory leaves them: delete keys, or raise it"

// notKept is the answer where a version is not kept. Where none but the current ones are, it says so.
func notKept(history bool) *protocol.Error {
	if history {
		return protocol.ErrNotFound
	}
	return &protocol.Error{
		Status:  protocol.StatusNotFound,
		Message: "no history is kept here: the server's option --history says how many earlier versions are",
	}
}

var failures = []struct {
	err    error
	status protocol.Status
}{
	{store.ErrStale, protocol.StatusStale},
	{store.ErrNoMajority, protocol.StatusUnavailable},
	{store.ErrOutOfMemory, protocol.StatusOutOfMemory},
	{store.ErrReadOnly, protocol.StatusUnavailable},
	{store.ErrTooLarge, protocol.StatusTooLarge},
	{store.ErrNotANumber, protocol.StatusBadRequest},
	{store.ErrOverflow, protocol.StatusBadRequest},
}
