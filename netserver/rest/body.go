package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"kv/netserver"
)

// smallBody is the longest body for which a buffer is allocated; a longer body, and one of unknown length, is read into a
// buffer that is used again.
const smallBody = 16 << 10

// body reads the request's body, of at most limit bytes, into a buffer that is claimed, grows with what has arrived,
// and is there until the exchange leaves. A body that is slower than it may be is given up.
func (x *exchange) body(limit int64) ([]byte, error) {
	size := x.r.ContentLength // -1: it comes in chunks
	switch {
	case size > limit:
		return nil, tooLong(limit)
	case size == 0:
		return nil, nil
	case size < 0:
		size = limit
	}
	if size <= smallBody {
		if err := x.client.Claim(int(size)); err != nil {
			return nil, unread(err)
		}
		x.buf = make([]byte, 0, size)
	}
	for begin := time.Now(); ; {
		room := x.buf[len(x.buf):cap(x.buf)]
		var probe [1]byte
		switch {
		case int64(len(x.buf)) == size:
			room = probe[:] // is that the end?
		case len(room) == 0:
			var err error
			if x.buf, err = x.client.Grow(x.buf, int(size)); err != nil {
				return nil, unread(err)
			}
			continue
		}
		room = room[:min(int64(len(room)), netserver.MinRate, max(1, size-int64(len(x.buf))))]
		_ = x.control.SetReadDeadline(begin.Add(x.h.config.BodyTimeout + netserver.AtMinRate(int64(len(x.buf)))))
		if x.cutOff.Load() { // cut's deadline may have been before that
			return nil, gone("the request was cut off")
		}
		n, err := x.r.Body.Read(room)
		if int64(len(x.buf)+n) > size {
			return nil, tooLong(limit)
		}
		x.buf = x.buf[:len(x.buf)+n]
		switch {
		case err == nil:
		case err == io.EOF:
			_ = x.control.SetReadDeadline(time.Time{})
			x.began = time.Now()
			return x.buf, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &problem{Status: http.StatusRequestTimeout, Detail: "the body did not arrive in time", closes: true}
		default:
			return nil, gone("the body did not arrive whole")
		}
	}
}

// lingerTime is how long what is left of a body is read away once the answer was sent.
const lingerTime = time.Second

// linger reads away what is left of a body that was refused, for a while: many a client looks for an answer only when
// it has sent all, and if the connection had been closed by then the system would have thrown the answer away.
func (x *exchange) linger() {
	if !x.closes || !x.hasBody() || x.cutOff.Load() || x.r.Header.Get("Expect") != "" {
		return
	}
	if x.control.Flush() == nil && x.control.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.Copy(io.Discard, x.r.Body)
	}
}

// unread is the answer where there is no memory for a body, what is left of which is not read.
func unread(err error) *problem {
	p := *asProblem(err)
	p.closes = true
	return &p
}

func gone(detail string) *problem {
	return &problem{Status: http.StatusBadRequest, Detail: detail, closes: true}
}

func tooLong(limit int64) *problem {
	return &problem{
		Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body is longer than the %d bytes that are the most here", limit), closes: true,
	}
}
