package rest

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"kv/protocol/jsonform"
)

// document reads the body as a JSON document, by read.
func (x *exchange) document(read func(in *jsonform.Scanner) error) error {
	b, err := x.body(int64(x.server.Limit()))
	if err != nil {
		return err
	}
	in := jsonform.NewScanner(b)
	if err := read(in); err != nil {
		return err
	}
	return in.End()
}

// object reads an object with these members, of which the first needed ones must be there.
func object(in *jsonform.Scanner, names []string, needed int, member func(i int) error) error {
	there, err := in.Object(names, member)
	if err != nil {
		return err
	}
	for i, name := range names[:needed] {
		if there&(1<<i) == 0 {
			return in.Fail("%q is missing", name)
		}
	}
	return nil
}

const (
	// itemMemory is about what a key, a record or an operation of a request takes in all the lists on the way, here and in
	// the store.
	itemMemory = 320
	// claimItems is how many are claimed at a time.
	claimItems = 64
)

// list is what a request names many of. Its memory is claimed.
type list[T any] struct {
	x     *exchange
	items []T
}

func (l *list[T]) append(item T) error {
	if len(l.items)%claimItems == 0 {
		if err := l.x.client.Claim(claimItems * itemMemory); err != nil {
			return err
		}
	}
	l.items = append(l.items, item)
	return nil
}

// keys reads an array of keys.
func (x *exchange) keys(in *jsonform.Scanner) ([][]byte, error) {
	keys := list[[]byte]{x: x}
	err := in.Array(func() error {
		key, err := in.Bytes()
		if err != nil {
			return err
		}
		return keys.append(key)
	})
	return keys.items, err
}

// member reads the member ttl or expiry of an object.
func (l *lifetime) member(in *jsonform.Scanner, name string) error {
	if in.Null() {
		return nil
	}
	switch name {
	case "ttl":
		text, err := in.Text()
		if err != nil {
			return err
		}
		if l.ttl, err = parseTTL(string(text)); err != nil {
			return in.Fail("%v", err)
		}
	case "expiry":
		at, err := in.Uint()
		if err != nil {
			return err
		}
		if l.at = at; at == 0 {
			return in.Fail("an expiry is in Unix milliseconds, or null")
		}
	}
	if l.ttl != 0 && l.at != 0 {
		return in.Fail("ttl and expiry exclude each other")
	}
	return nil
}

// What writes JSON to an answer, in the form of package jsonform, piece by piece: a long value is not there twice.

// text appends JSON as it stands.
func (o *output) text(s string) {
	o.buf = append(o.buf, s...)
	o.spill()
}

func (o *output) number(n uint64) { o.buf = strconv.AppendUint(o.buf, n, 10) }

// jsonPiece is how much of a value is turned to JSON at a time: whole groups of base64.
const jsonPiece = 3 << 10

// bytes appends b as jsonform.AppendBytes does.
func (o *output) bytes(b []byte) {
	if len(b) <= jsonPiece {
		o.buf = jsonform.AppendBytes(o.buf, b)
		o.spill()
		return
	}
	if !utf8.Valid(b) {
		o.buf = append(o.buf, `{"base64":"`...)
		for len(b) > 0 && o.err == nil {
			n := min(len(b), jsonPiece)
			o.buf = base64.StdEncoding.AppendEncode(o.buf, b[:n])
			b = b[n:]
			o.spill()
		}
		o.buf = append(o.buf, `"}`...)
		return
	}
	o.buf = append(o.buf, '"')
	for len(b) > 0 && o.err == nil {
		n := min(len(b), jsonPiece)
		for n < len(b) && !utf8.RuneStart(b[n]) {
			n--
		}
		from := len(o.buf)
		o.buf = jsonform.AppendBytes(o.buf, b[:n])
		copy(o.buf[from:], o.buf[from+1:len(o.buf)-1]) // without its quotes
		o.buf = o.buf[:len(o.buf)-2]
		b = b[n:]
		o.spill()
	}
	o.buf = append(o.buf, '"')
}

// record appends a record. Where found is false, the key is absent.
func (o *output) record(key []byte, found bool, value []byte, version, expiry uint64) {
	o.text(`{"key":`)
	o.bytes(key)
	if o.text(`,"value":`); found {
		o.bytes(value)
	} else {
		o.text("null")
	}
	o.buf = jsonform.AppendMeta(o.buf, version, expiry)
	o.spill()
}

// keyRecord appends a record without its value.
func (o *output) keyRecord(key []byte, version, expiry uint64) {
	o.text(`{"key":`)
	o.bytes(key)
	o.buf = jsonform.AppendMeta(o.buf, version, expiry)
	o.spill()
}
