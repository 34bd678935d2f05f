package resp

import (
	"errors"
	"slices"
	"strconv"

	"kv/netserver"
	"kv/protocol"
	"kv/store"
)

// The answer to a request, from its beginning until it has found its way into the connection's output.

// begin begins the answer to a request.
func (t *talk) begin() {
	t.out.Request()
	t.failed, t.streamed, t.answered = "", false, false
	t.muted = t.mute != muteNone
	t.rebase()
}

// rebase has buf begin where out ends, so that the answer that is written to buf next need not be copied to out.
func (t *talk) rebase() {
	if t.long = t.send; t.muted || t.nested {
		t.buf, t.long = t.buf[:0], nil
		return
	}
	b := t.out.Buf
	t.buf = b[len(b):]
}

// done ends the answer of a request, and sends the collected answers if they are many bytes.
func (t *talk) done() {
	if t.finish() {
		t.out.Flush()
	}
}

// finish ends the answer, and reports whether so much is collected that it is to be sent.
func (t *talk) finish() (full bool) {
	if t.failed != "" {
		t.out.Refused(statusOf(t.failed))
	}
	switch {
	case t.answered, t.muted:
	case len(t.buf) < longString || t.streamed:
		t.commit()
	default:
		if answer := slices.Clone(t.buf); t.beginValue(len(answer)) {
			t.out.Value(answer)
			t.rebase()
		}
		t.commit()
	}
	if t.streamed {
		t.out.Finish()
	}
	switch t.mute {
	case muteNext:
		t.mute = muteThis
	case muteThis:
		t.mute = muteNone
	}
	return t.out.Full()
}

// commit moves what is in buf to out.
func (t *talk) commit() {
	b, n := t.out.Buf, len(t.buf)
	if n == 0 {
		return
	}
	if all := len(b) + n; all <= cap(b) && &b[:all][len(b)] == &t.buf[0] {
		t.out.Buf = b[:all] // it is there
	} else {
		t.out.Buf = append(b, t.buf...)
	}
	t.buf = t.out.Buf[len(t.out.Buf):]
}

// sendLong sends a long string from where it lies.
func (t *talk) sendLong(v []byte) bool {
	if len(t.buf) > 0 || t.streamed {
		return false // it is a part of an answer
	}
	if t.beginValue(bulkSize(len(v))) {
		t.head('$', len(v))
		t.commit()
		t.out.Value(v)
		t.rebase()
		t.buf = append(t.buf, crlf...)
	}
	return true
}

// beginValue begins an answer of size bytes that is little more than one long string. It returns false if it is
// answered with an error instead.
func (t *talk) beginValue(size int) bool {
	return t.begun(t.out.BeginValue(t.lastName(), size, valueExtra))
}

// stream begins an answer of size bytes, made of so many values, that is sent piece by piece if it is long. It returns
// false if it is answered with an error instead.
func (t *talk) stream(size, values int) bool {
	if t.muted || t.nested {
		return true // for what it is a part of
	}
	return t.begun(t.out.Begin(t.lastName(), size, int64(values)*valueExtra))
}

// begun is where an answer goes on once out has begun it, or refused that.
func (t *talk) begun(err error) bool {
	t.rebase()
	switch {
	case err == nil:
		t.streamed = true
		return true
	case errors.Is(err, netserver.ErrAnswered):
		t.answered = true
	default:
		t.fail(err)
	}
	return false
}

// piece appends v to an answer that stream began.
func (t *talk) piece(v []byte) {
	if !t.streamed {
		t.buf = append(t.buf, v...)
		return
	}
	t.commit()
	t.out.Piece(v)
	t.rebase()
}

// valueExtra is about what a value takes besides its bytes while an answer has it.
const valueExtra = 64

// bulkSize is how long the answer of a string of n bytes is.
func bulkSize(n int) int {
	var digits [20]byte
	return len("$\r\n\r\n") + len(strconv.AppendInt(digits[:0], int64(n), 10)) + n
}

func (t *talk) lastName() string {
	if t.last == nil {
		return ""
	}
	return t.last.Name
}

// fail answers what the server could not do.
func (t *talk) fail(err error) { t.err(errorText(err)) }

// errorText is what a client is told of err.
func errorText(err error) string {
	if errors.Is(err, store.ErrTooLarge) {
		return errTooLong
	}
	// What clients do by themselves with an error goes by its first word. Without a leader nothing was done, so it may
	// be tried again: go-redis and Redisson do that with CLUSTERDOWN, others have a type for it. Nobody tries again
	// with UNKNOWN, which no server of Redis says.
	switch {
	case errors.Is(err, store.ErrNoMajority):
		return "CLUSTERDOWN " + err.Error()
	case errors.Is(err, store.ErrUnknown):
		return "UNKNOWN " + err.Error()
	}
	e := netserver.Failure(err)
	why := e.Message
	if why == "" {
		why = e.Error()
	}
	switch e.Status {
	case protocol.StatusOutOfMemory:
		return "OOM command not allowed: " + why
	case protocol.StatusUnauthenticated:
		return "NOAUTH Authentication required."
	case protocol.StatusForbidden:
		return "NOPERM " + why
	case protocol.StatusUnavailable:
		return "MISCONF " + why
	case protocol.StatusMoved:
		return "READONLY You can't write against a read only replica: " + why + " leads."
	case protocol.StatusStale:
		return "MASTERDOWN " + why
	}
	return "ERR " + why
}

// statusOf is how the books have an error that was answered with this text.
func statusOf(text string) protocol.Status {
	for code, status := range statuses {
		if len(text) > len(code) && text[:len(code)] == code && text[len(code)] == ' ' {
			return status
		}
	}
	return protocol.StatusBadRequest
}

var statuses = map[string]protocol.Status{
	"OOM":       protocol.StatusOutOfMemory,
	"NOAUTH":    protocol.StatusUnauthenticated,
	"WRONGPASS": protocol.StatusUnauthenticated,
	"NOPERM":    protocol.StatusForbidden,
	"MISCONF":   protocol.StatusUnavailable,

	"CLUSTERDOWN": protocol.StatusUnavailable,
	"UNKNOWN":     protocol.StatusUnavailable,

	"READONLY":   protocol.StatusMoved,
	"MASTERDOWN": protocol.StatusStale,
}
