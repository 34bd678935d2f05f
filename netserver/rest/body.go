package rest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// firstBuffer is how much of a body is read before it is known to be longer.
const firstBuffer = 4 << 10

// body reads the request's body, of at most limit bytes. The buffer is claimed, and grows with what has arrived; it is the
// caller's until the exchange leaves. A body that is slower than it may be is given up.
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
	var buf []byte
	come := 0
	for begin := time.Now(); ; {
		if come == len(buf) {
			// The longest, halved as often as leaves room: so the one before the last is half of it, and both together are
			// what Limit says that there is memory for. It has one byte more, so that the end is found in it.
			next := size + 1
			for next/2 > int64(come) && next > firstBuffer {
				next = (next + 1) / 2
			}
			var err error
			if buf, err = x.grow(buf, int(next)); err != nil {
				return nil, err
			}
		}
		_ = x.control.SetReadDeadline(begin.Add(x.h.config.BodyTimeout + time.Duration(come/pace)*time.Second))
		if x.cutOff.Load() { // cut's deadline may have been before that
			return nil, gone("the request was cut off")
		}
		n, err := x.r.Body.Read(buf[come:min(len(buf), come+pace)])
		come += n
		switch {
		case int64(come) > limit:
			return nil, tooLong(limit)
		case err == nil:
		case err == io.EOF:
			_ = x.control.SetReadDeadline(time.Time{})
			x.began = time.Now()
			return buf[:come:come], nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &problem{Status: http.StatusRequestTimeout, Detail: "the body did not arrive in time", closes: true}
		default:
			return nil, gone("the body did not arrive whole")
		}
	}
}

// grow returns a longer buffer that begins with buf, and gives that back.
func (x *exchange) grow(buf []byte, size int) ([]byte, error) {
	if err := x.client.Claim(size); err != nil {
		p := asProblem(err)
		p.closes = true // the rest is not read
		return nil, p
	}
	longer := make([]byte, size)
	copy(longer, buf)
	x.client.Release(len(buf))
	return longer, nil
}

func gone(detail string) *problem {
	return &problem{Status: http.StatusBadRequest, Detail: detail, closes: true}
}

func tooLong(limit int64) *problem {
	return &problem{
		Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body is longer than the %d bytes that are the most here", limit), closes: true,
	}
}
