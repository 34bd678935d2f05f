package rest

import (
	"fmt"
	"net/http"
	"strconv"

	"kv/protocol"
	"kv/store"
)

// The requests of one key's value, as it is.

// holdSize is the length from which an answer is held: a shorter one takes no more than the connection itself.
const holdSize = 4 << 10

// entryOverhead is about how many bytes an entry takes besides its key and its value.
const entryOverhead = 32

// hold takes memory for an answer that keeps n bytes alive until it is sent.
func (x *exchange) hold(n int64) error {
	if n < holdSize {
		return nil
	}
	if err := x.client.Hold(x.r.Context(), "this request", n); err != nil {
		return err
	}
	x.held = n
	return nil
}

// letGo gives back what is held.
func (x *exchange) letGo() {
	x.client.LetGo(x.held)
	x.held = 0
}

// holdJSON is hold for an answer that is written as JSON, which takes a buffer besides.
func (x *exchange) holdJSON(n int64) error {
	if n < holdSize {
		return nil
	}
	return x.hold(n + outputMemory)
}

func (x *exchange) get() (*answer, error) {
	cond, err := x.conditions()
	if err != nil {
		return nil, err
	}
	session := x.client.Session()
	var e *store.Entry
	if text, asked := x.query["version"]; asked {
		version := versionOf(text)
		if version == 0 {
			return nil, badRequest("version: a version is wanted, a number above 0")
		}
		if e = session.GetVersion(x.key, version); e == nil {
			if !x.server.Store().KeepsHistory() {
				return nil, store.ErrNoHistory
			}
			return nil, &problem{Status: http.StatusNotFound, Detail: "that version of the key is not kept"}
		}
	} else if e = session.Get(x.key); e == nil {
		return nil, notFound()
	}
	a := &answer{status: http.StatusOK, header: entryHeader(e.Version(), e.Expiry())}
	a.header["Cache-Control"] = []string{"no-cache"} // it may be kept, and is asked for anew each time, with If-None-Match
	if cond.match != nil && !cond.match.has(e.Version(), false) {
		return nil, conditions{match: cond.match}.check(e.Version())
	}
	if cond.unchanged(e.Version()) {
		a.status = http.StatusNotModified
		return a, nil
	}
	a.header["Content-Type"] = []string{"application/octet-stream"}
	a.length = int64(e.Len())
	a.send = func(out *output) error {
		out.write(e.Value())
		return nil
	}
	if x.r.Method != http.MethodHead {
		if err := x.hold(a.length + int64(len(e.Key())) + entryOverhead); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func notFound() *problem { return &problem{Status: http.StatusNotFound, Detail: "the key is absent"} }

// entryHeader is what tells a version and an expiry.
func entryHeader(version, expiry uint64) http.Header {
	h := http.Header{"Etag": {etagOf(version)}}
	h["Kv-Version"] = []string{strconv.FormatUint(version, 10)}
	if expiry != 0 {
		h["Kv-Expiry"] = []string{strconv.FormatUint(expiry, 10)}
	}
	return h
}

func (x *exchange) put() (*answer, error) {
	cond, err := x.conditions()
	if err != nil {
		return nil, err
	}
	life, err := x.lifetime()
	if err != nil {
		return nil, err
	}
	// What the protocol could not set could not be copied elsewhere.
	limit := int64(x.server.Limit()) - protocol.HeaderSize - int64(len(x.key))
	if limit < 0 {
		return nil, tooLong(int64(x.server.Limit()))
	}
	value, err := x.body(limit)
	if err != nil {
		return nil, err
	}
	var existed bool
	var expiry uint64
	var lives bool
	version, err := x.client.Session().Update([][]byte{x.key}, func(u *store.Update) error {
		e := u.Get(x.key)
		existed = e.Exists()
		if err := cond.check(current(e)); err != nil {
			return err
		}
		expiry = life.expiry(u)
		u.Set(x.key, value, expiry)
		lives = expiry == 0 || expiry > u.Now()
		return nil
	})
	if err != nil {
		return nil, err
	}
	a := &answer{status: http.StatusNoContent, header: entryHeader(version, expiry)}
	switch {
	case !lives: // the time had passed: the key is absent
		a.header.Del("Etag")
		a.header.Del("Kv-Expiry")
	case !existed:
		a.status = http.StatusCreated
	}
	return a, nil
}

func (x *exchange) del() (*answer, error) {
	cond, err := x.conditions()
	if err != nil {
		return nil, err
	}
	existed := false
	version, err := x.client.Session().Update([][]byte{x.key}, func(u *store.Update) error {
		if err := cond.check(current(u.Get(x.key))); err != nil {
			return err
		}
		existed = u.Delete(x.key)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !existed:
		return nil, notFound()
	}
	return &answer{status: http.StatusNoContent, header: http.Header{"Kv-Version": {strconv.FormatUint(version, 10)}}}, nil
}

// limit reads the parameter limit: how many there may be, at most most.
func (x *exchange) limit(most int) (n int, err error) {
	text, given := x.query["limit"]
	if !given {
		return 0, nil
	}
	n, err = strconv.Atoi(text)
	if err != nil || n < 1 || n > most || strconv.Itoa(n) != text {
		return 0, badRequest(fmt.Sprintf("limit: a number from 1 to %d is wanted", most))
	}
	return n, nil
}
