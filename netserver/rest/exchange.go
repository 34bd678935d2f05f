package rest

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kv/netserver"
	"kv/protocol"
)

// exchange is one request and its answer. One goroutine has it to itself, but for what cut uses.
type exchange struct {
	h *handler
	w http.ResponseWriter
	r *http.Request

	control *http.ResponseController
	query   map[string]string // its parameters
	key     []byte            // of a resource that has one
	server  *netserver.Server
	client  *netserver.Client // nil: it has not entered
	closes  bool              // the connection ends with the answer
	held    int64             // for the answer, or for a list's page
	buf     []byte            // the body

	began  time.Time     // when the request had arrived
	took   time.Duration // from then until its answer could leave
	status protocol.Status
	out    *output // what the answer leaves by, once it does

	cutOff atomic.Bool // set before the deadlines that end reading and sending; see cut
	mu     sync.Mutex  // guards left: the connection may be another request's then
	left   bool
}

func newExchange(h *handler, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{h: h, w: w, r: r, control: http.NewResponseController(w), began: time.Now()}
	// The deadlines that the http.Server has set are for its other pages. A request without a body has no deadline for
	// reading: net/http reads meanwhile, to notice that the client is gone, and would take a deadline that passes
	// during a long answer for that. With a body, the deadline also bounds how long net/http reads away the rest of it.
	var read time.Time
	if x.hasBody() {
		read = x.began.Add(h.config.BodyTimeout)
	}
	_ = x.control.SetReadDeadline(read) // what has no deadlines needs none
	_ = x.control.SetWriteDeadline(time.Time{})
	return x
}

// hasBody reports whether a body comes with the request.
func (x *exchange) hasBody() bool { return x.r.ContentLength != 0 }

// cut gives up the exchange. Any goroutine may call it, at any time.
func (x *exchange) cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.left {
		return
	}
	x.cutOff.Store(true)
	_ = x.control.SetWriteDeadline(time.Unix(1, 0))
	_ = x.control.SetReadDeadline(time.Unix(1, 0))
}

// answer is what a request is answered with: a body, or one that is sent piece by piece.
type answer struct {
	status int
	header http.Header
	body   []byte                  // not to be changed before it is sent
	send   func(out *output) error // sends the body, if it is not nil
	length int64                   // how many bytes send sends; -1: not known
}

// answerJSON is an answer that send writes as JSON.
func answerJSON(send func(out *output) error) *answer {
	return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, send: send, length: -1}
}

// errGone is the error where the client is gone, or was given up.
var errGone = errors.New("the client is gone")

// answer sends a, once nothing of it can be taken back. The error is that of sending.
func (x *exchange) answer(a *answer) error {
	if x.client != nil {
		if err := x.client.Flush(); err != nil {
			a = problemOf(err)
		}
	}
	x.status, x.took = statusOf(a.status), time.Since(x.began)
	header := x.w.Header()
	for name, values := range a.header {
		header[name] = values
	}
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
	}
	if a.send == nil {
		a.length = int64(len(a.body))
	}
	if a.length >= 0 && a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		header.Set("Content-Length", strconv.FormatInt(a.length, 10))
	}
	if x.closes = header.Get("Connection") == "close"; x.closes {
		// net/http would wait for what is left of the body.
		_ = x.control.SetReadDeadline(time.Unix(1, 0))
	}
	x.out = &output{x: x}
	x.w.WriteHeader(a.status)
	if x.r.Method == http.MethodHead {
		return nil
	}
	if a.send != nil {
		if err := a.send(x.out); err != nil {
			return err
		}
	} else {
		x.out.write(a.body)
	}
	return x.out.finish()
}

// output sends the body of an answer, for as long as the client takes enough of it. After an error it sends nothing
// more, and finish returns that.
type output struct {
	x    *exchange
	buf  []byte
	owed time.Duration // see netserver.Owed
	err  error
}

const (
	// outputSize is how much is collected before it is sent, and outputPiece the most that is sent at a time.
	outputSize  = 16 << 10
	outputPiece = 64 << 10
	// outputMemory is at most what is collected: what is not quite enough to be sent, and one more piece of a value as JSON.
	outputMemory = outputSize + 6*jsonPiece
)

// spill sends what is collected, if that is enough to be sent.
func (o *output) spill() {
	if len(o.buf) >= outputSize {
		o.write(nil)
	}
}

// write sends what is collected, and p behind it.
func (o *output) write(p []byte) {
	o.send(o.buf)
	o.buf = o.buf[:0]
	o.send(p)
}

func (o *output) send(p []byte) {
	for len(p) > 0 && o.err == nil {
		n := min(len(p), outputPiece)
		o.patiently(func() error {
			_, err := o.x.w.Write(p[:n])
			return err
		}, n)
		p = p[n:]
	}
}

// patiently calls write, which sends n bytes, with a deadline at which the client would owe too much.
func (o *output) patiently(write func() error, n int) {
	before := time.Now()
	_ = o.x.control.SetWriteDeadline(before.Add(o.x.h.config.WriteTimeout - o.owed))
	if o.x.cutOff.Load() { // cut's deadline may have been before that
		o.err = errGone
		return
	}
	if o.x.client != nil {
		o.x.client.Sending(true)
		defer o.x.client.Sending(false)
	}
	switch err := write(); {
	case errors.Is(err, os.ErrDeadlineExceeded) && !o.x.cutOff.Load():
		o.err = fmt.Errorf("the client takes nothing for %v, or less than %d bytes a second",
			o.x.h.config.WriteTimeout, netserver.MinRate)
	case err != nil && !errors.Is(err, http.ErrNotSupported):
		o.err = errGone
	}
	o.owed = netserver.Owed(o.owed, time.Since(before), int64(n))
}

// flush has all that was written leave at once, for who reads along.
func (o *output) flush() {
	o.write(nil)
	if o.err == nil {
		o.patiently(o.x.control.Flush, 0)
	}
}

// finish sends the rest.
func (o *output) finish() error {
	o.write(nil)
	return o.err
}
