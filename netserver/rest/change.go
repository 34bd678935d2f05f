package rest

import (
	"net/http"
	"strconv"

	"kv/protocol/jsonform"
	"kv/store"
)

// The requests that change a key by what it holds, as the protocol's INCR, EXPIRE and PERSIST do.

// change is what such a request says.
type change struct {
	key         []byte
	conditional bool
	ifVersion   uint64
	by          int64
	life        lifetime
}

// readChange reads a document with a key, maybe a condition on its version, and what else there is in the request.
func (x *exchange) readChange(more ...string) (c change, err error) {
	names := append([]string{"key", "if_version"}, more...)
	c.by = 1
	err = x.document(func(in *jsonform.Scanner) error {
		return object(in, names, 1, func(i int) (err error) {
			switch names[i] {
			case "key":
				c.key, err = in.Bytes()
			case "if_version":
				c.conditional = true
				c.ifVersion, err = in.Uint()
			case "by":
				c.by, err = in.Int()
			default:
				err = c.life.member(in, names[i])
			}
			return err
		})
	})
	return c, err
}

// update changes the key by change, which gets what it holds, if the condition holds.
func (x *exchange) update(c change, change func(u *store.Update, e store.Found) error) (version uint64, err error) {
	return x.client.Session().Update([][]byte{c.key}, func(u *store.Update) error {
		e := u.Get(c.key)
		if v := current(e); c.conditional && v != c.ifVersion {
			return &problem{
				Status: http.StatusConflict, Detail: "the condition does not hold: the key has another version",
				conflict: true, version: v, index: -1,
			}
		}
		return change(u, e)
	})
}

// incr adds to a number.
func (x *exchange) incr() (*answer, error) {
	c, err := x.readChange("by", "ttl", "expiry")
	if err != nil {
		return nil, err
	}
	var sum int64
	version, err := x.update(c, func(u *store.Update, e store.Found) (err error) {
		number, expiry := []byte("0"), c.life.expiry(u)
		if e.Exists() {
			number, expiry = e.Value(), u.Expiry(e)
		}
		if sum, err = store.Sum(number, c.by); err != nil {
			return err
		}
		u.Set(c.key, strconv.AppendInt(nil, sum, 10), expiry)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answerJSON(func(out *output) error {
		out.text(`{"value":`)
		out.buf = strconv.AppendInt(out.buf, sum, 10)
		out.version(version)
		return nil
	}), nil
}

// expire gives a key another expiry.
func (x *exchange) expire() (*answer, error) {
	c, err := x.readChange("ttl", "expiry")
	switch {
	case err != nil:
		return nil, err
	case c.life == (lifetime{}):
		return nil, badRequest("ttl or expiry is missing")
	}
	version, err := x.update(c, func(u *store.Update, e store.Found) error {
		if !e.Exists() {
			return notFound()
		}
		u.Set(c.key, e.Value(), c.life.expiry(u))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return versionAlone(version), nil
}

// persist removes the expiry of a key. A key without an expiry keeps its version.
func (x *exchange) persist() (*answer, error) {
	c, err := x.readChange()
	if err != nil {
		return nil, err
	}
	var has uint64
	version, err := x.update(c, func(u *store.Update, e store.Found) error {
		if !e.Exists() {
			return notFound()
		}
		if has = e.Version(); e.Expiry() != 0 {
			u.Set(c.key, e.Value(), 0)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return versionAlone(max(version, has)), nil
}
