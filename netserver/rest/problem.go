package rest

import (
	"errors"
	"net/http"
	"strconv"

	"kv/netserver"
	"kv/protocol"
	"kv/protocol/jsonform"
	"kv/store"
)

// problem is an answer that tells an error, as a problem document of RFC 9457. Its type is about:blank: the status says
// which kind of problem it is.
type problem struct {
	Status int
	Detail string // for a person

	conflict bool   // a condition did not hold, and these are members too:
	version  uint64 // the key's current version, 0: it is absent
	index    int    // which condition of a txn, -1: it is none

	leader string // who leads where this server does not, 421: as clients of kv frames reach that
	allow  string // the methods that there are, for 405
	closes bool   // the connection ends with it: of the request not all was read, or no other is taken
}

// Error returns the detail.
func (p *problem) Error() string { return p.Detail }

func badRequest(detail string) *problem {
	return &problem{Status: http.StatusBadRequest, Detail: detail}
}

// problemOf is what a client is told of err.
func problemOf(err error) *answer {
	p := asProblem(err)
	b := []byte(`{"title":`)
	b = jsonform.AppendBytes(b, []byte(http.StatusText(p.Status)))
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.Status), 10)
	if p.Detail != "" {
		b = append(b, `,"detail":`...)
		b = jsonform.AppendBytes(b, []byte(p.Detail))
	}
	if p.conflict {
		b = append(b, `,"version":`...)
		b = strconv.AppendUint(b, p.version, 10)
		if p.index >= 0 {
			b = append(b, `,"index":`...)
			b = strconv.AppendInt(b, int64(p.index), 10)
		}
	}
	if p.leader != "" {
		b = append(b, `,"leader":`...)
		b = jsonform.AppendBytes(b, []byte(p.leader))
	}
	b = append(b, "}\n"...)
	a := &answer{status: p.Status, header: http.Header{"Content-Type": {"application/problem+json"}}, body: b}
	switch p.Status {
	case http.StatusUnauthorized:
		a.header["Www-Authenticate"] = []string{`Basic realm="kv", charset="UTF-8"`, `Bearer realm="kv"`}
	case http.StatusMethodNotAllowed:
		a.header.Set("Allow", p.allow)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		a.header.Set("Retry-After", "1")
	}
	if p.closes {
		a.header.Set("Connection", "close")
	}
	return a
}

func asProblem(err error) *problem {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	if e := (*jsonform.Error)(nil); errors.As(err, &e) {
		return badRequest(e.Error())
	}
	switch {
	case errors.Is(err, store.ErrOutOfMemory):
		return &problem{Status: http.StatusInsufficientStorage, Detail: err.Error()}
	case errors.Is(err, store.ErrNotANumber), errors.Is(err, store.ErrOverflow):
		return &problem{Status: http.StatusConflict, Detail: "the value is " + err.Error()}
	}
	e := netserver.Failure(err)
	if e.Status == protocol.StatusConflict {
		return &problem{
			Status: http.StatusConflict, Detail: "a condition does not hold: the key has another version",
			conflict: true, version: e.Version, index: e.Index,
		}
	}
	p := &problem{Status: httpStatus(e.Status), Detail: e.Message}
	if e.Status == protocol.StatusMoved {
		p.leader, p.Detail = e.Message, "another server leads: ask that"
	}
	if p.Detail == "" {
		p.Detail = e.Error()
	}
	return p
}
