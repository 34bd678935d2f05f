package rest

import (
	"encoding/base64"
	"errors"
	"net/http"

	"kv/netserver"
	"kv/protocol"
	"kv/store"
)

const (
	// maxPage is the most keys that a page may have, and streamPage how many a stream asks for at a time.
	maxPage    = 10_000
	streamPage = 1000
)

// list answers the keys that begin with a prefix, a line each: one page, or, without a limit, all of them, page by page as the
// client takes them.
func (x *exchange) list() (*answer, error) {
	limit, err := x.limit(maxPage)
	if err != nil {
		return nil, err
	}
	s := &scan{x: x, o: store.ScanOptions{Prefix: []byte(x.query["prefix"]), Limit: limit, Values: true}}
	switch text, given := x.query["values"]; {
	case text == "false":
		s.o.Values = false
	case given && text != "true":
		return nil, badRequest("values is true or false")
	}
	if text, given := x.query["cursor"]; given {
		if s.cursor, err = base64.RawURLEncoding.Strict().DecodeString(text); err != nil || text == "" {
			return nil, badRequest("cursor: what Kv-Cursor of the page before had is wanted")
		}
	}
	a := &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/x-ndjson"}}, length: -1}
	if limit == 0 {
		s.o.Limit = streamPage
	}
	page, err := s.next()
	if err != nil {
		return nil, err
	}
	if limit > 0 {
		if page.Next != nil {
			a.header["Kv-Cursor"] = []string{base64.RawURLEncoding.EncodeToString(page.Next)}
		}
		a.send = func(out *output) error {
			s.write(out, page)
			return nil
		}
		return a, nil
	}
	a.send = func(out *output) error {
		for {
			s.write(out, page)
			out.flush()
			if out.err != nil || page.Next == nil {
				return out.err
			}
			switch {
			case x.r.Context().Err() != nil:
				return errGone
			case x.client.Lapsed():
				return errors.New("the user is not what he was when the request came")
			}
			s.cursor = page.Next
			if err = x.client.Begin(); err == nil {
				if page, err = s.next(); err == nil {
					err = x.client.Flush()
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return a, nil
}

// scan goes through keys page by page.
type scan struct {
	x      *exchange
	o      store.ScanOptions
	cursor []byte
}

// next returns the next page, once there is memory for it: a shorter page where memory is scarce.
func (s *scan) next() (store.Page, error) {
	s.x.letGo()
	o := s.o
	for {
		page, err := s.x.client.Session().Scan(s.cursor, o)
		if err != nil {
			return page, err
		}
		held := int64(0)
		for _, e := range page.Entries {
			held += heldBy(e)
		}
		if err = s.x.holdJSON(held); err == nil {
			return page, nil
		}
		status := netserver.Failure(err).Status
		if status != protocol.StatusTooLarge && status != protocol.StatusOutOfMemory || len(page.Entries) < 2 ||
			s.x.r.Context().Err() != nil {
			return page, err
		}
		o.Limit = len(page.Entries) / 2
	}
}

// write sends a page.
func (s *scan) write(out *output, page store.Page) {
	for _, e := range page.Entries {
		if out.err != nil {
			return
		}
		if s.o.Values {
			out.entry(e.Key(), e)
		} else {
			out.keyRecord(e.Key(), e.Version(), e.Expiry())
		}
		out.text("\n")
	}
}
