package rest

import (
	"strconv"
	"time"

	"kv/store"
)

// lifetime is when what a write leaves expires: so many milliseconds after it, or at a time, in Unix milliseconds. Both 0: never.
type lifetime struct{ ttl, at uint64 }

// expiry is the lifetime's end for an update.
func (l lifetime) expiry(u *store.Update) uint64 {
	if l.ttl != 0 {
		return u.After(l.ttl)
	}
	return l.at
}

// lifetime reads the headers Kv-Ttl and Kv-Expiry.
func (x *exchange) lifetime() (l lifetime, err error) {
	h := x.r.Header
	ttl, at := h.Get("Kv-Ttl"), h.Get("Kv-Expiry")
	switch _, hasTTL := h["Kv-Ttl"]; {
	case hasTTL && at != "":
		return l, badRequest("Kv-Ttl and Kv-Expiry exclude each other")
	case hasTTL:
		if l.ttl, err = parseTTL(ttl); err != nil {
			return l, badRequest("Kv-Ttl: " + err.Error())
		}
	case at != "":
		l.at, err = strconv.ParseUint(at, 10, 64)
		if err != nil || l.at == 0 {
			return l, badRequest("Kv-Expiry: a time in Unix milliseconds is wanted, such as 4102444800000")
		}
	}
	return l, nil
}

type ttlError struct{}

func (ttlError) Error() string {
	return "a duration of whole milliseconds is wanted, such as 1500ms, 30s or 1h30m"
}

// parseTTL reads a duration, and returns it in milliseconds.
func parseTTL(text string) (uint64, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond || d%time.Millisecond != 0 {
		return 0, ttlError{}
	}
	return uint64(d.Milliseconds()), nil
}
