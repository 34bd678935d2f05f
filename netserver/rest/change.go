package rest

import (
	"strconv"

	"kv/protocol/jsonform"
	"kv/store"
)

// The requests that change a key by what it holds.

// incr adds to a number, as the protocol's INCR does.
func (x *exchange) incr() (*answer, error) {
	var key []byte
	by := int64(1)
	var life lifetime
	names := []string{"key", "by", "ttl", "expiry"}
	err := x.document(func(in *jsonform.Scanner) error {
		return object(in, names, 1, func(i int) (err error) {
			switch names[i] {
			case "key":
				key, err = in.Bytes()
			case "by":
				by, err = in.Int()
			default:
				err = life.member(in, names[i])
			}
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	var sum int64
	version, err := x.client.Session().Update([][]byte{key}, func(u *store.Update) error {
		number, expiry := []byte("0"), life.expiry(u)
		if e := u.Get(key); e.Exists() {
			number, expiry = e.Value(), u.Expiry(e)
		}
		var err error
		if sum, err = store.Sum(number, by); err != nil {
			return err
		}
		u.Set(key, strconv.AppendInt(nil, sum, 10), expiry)
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
	var key []byte
	var life lifetime
	names := []string{"key", "ttl", "expiry"}
	err := x.document(func(in *jsonform.Scanner) error {
		err := object(in, names, 1, func(i int) (err error) {
			if names[i] == "key" {
				key, err = in.Bytes()
				return err
			}
			return life.member(in, names[i])
		})
		if err == nil && life == (lifetime{}) {
			err = in.Fail("ttl or expiry is missing")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	version, err := x.client.Session().Update([][]byte{key}, func(u *store.Update) error {
		e := u.Get(key)
		if !e.Exists() {
			return notFound()
		}
		u.Set(key, e.Value(), life.expiry(u))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return versionAlone(version), nil
}

// persist takes its expiry from a key. One that has none keeps its version.
func (x *exchange) persist() (*answer, error) {
	key, err := x.keyAlone()
	if err != nil {
		return nil, err
	}
	var has uint64
	version, err := x.client.Session().Update([][]byte{key}, func(u *store.Update) error {
		e := u.Get(key)
		if !e.Exists() {
			return notFound()
		}
		if has = e.Version(); e.Expiry() != 0 {
			u.Set(key, e.Value(), 0)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return versionAlone(max(version, has)), nil
}

// keyAlone reads {"key":…}.
func (x *exchange) keyAlone() (key []byte, err error) {
	err = x.document(func(in *jsonform.Scanner) error {
		return object(in, []string{"key"}, 1, func(int) (err error) {
			key, err = in.Bytes()
			return err
		})
	})
	return key, err
}
