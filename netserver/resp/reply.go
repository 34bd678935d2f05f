package resp

import (
	"strconv"
	"strings"
)

// reply is where the answers to one connection's commands are written, in RESP2 or RESP3.
type reply struct {
	buf   []byte
	resp3 bool
	// long, if not nil, takes over the bytes of a long string, which then are not copied.
	long func(v []byte) bool
	// failed is the error that was answered last, "" if none was since it was reset: for the books, and for MULTI.
	failed string
}

const crlf = "\r\n"

func (r *reply) head(kind byte, n int) {
	r.buf = append(r.buf, kind)
	r.buf = strconv.AppendInt(r.buf, int64(n), 10)
	r.buf = append(r.buf, crlf...)
}

// ok answers OK.
func (r *reply) ok() { r.buf = append(r.buf, "+OK\r\n"...) }

// simple answers a word that has no line break.
func (r *reply) simple(s string) {
	r.buf = append(r.buf, '+')
	r.buf = append(r.buf, s...)
	r.buf = append(r.buf, crlf...)
}

var oneLine = strings.NewReplacer("\r", " ", "\n", " ")

// err answers an error. Its first word is its code, as ERR or NOAUTH.
func (r *reply) err(text string) {
	r.failed = text
	r.buf = append(r.buf, '-')
	r.buf = append(r.buf, oneLine.Replace(text)...)
	r.buf = append(r.buf, crlf...)
}

func (r *reply) int(n int64) {
	r.buf = append(r.buf, ':')
	r.buf = strconv.AppendInt(r.buf, n, 10)
	r.buf = append(r.buf, crlf...)
}

// flag answers 1 or 0.
func (r *reply) flag(yes bool) {
	if yes {
		r.int(1)
		return
	}
	r.int(0)
}

// bulk answers a string of any bytes.
func (r *reply) bulk(v []byte) {
	if r.long != nil && len(v) >= longString && r.long(v) {
		return
	}
	r.head('$', len(v))
	r.buf = append(r.buf, v...)
	r.buf = append(r.buf, crlf...)
}

func (r *reply) text(s string) {
	r.head('$', len(s))
	r.buf = append(r.buf, s...)
	r.buf = append(r.buf, crlf...)
}

// verbatim answers a text for people.
func (r *reply) verbatim(s string) {
	if !r.resp3 {
		r.text(s)
		return
	}
	r.head('=', len(s)+4)
	r.buf = append(r.buf, "txt:"...)
	r.buf = append(r.buf, s...)
	r.buf = append(r.buf, crlf...)
}

// null answers that there is no such thing.
func (r *reply) null() {
	if r.resp3 {
		r.buf = append(r.buf, "_\r\n"...)
		return
	}
	r.buf = append(r.buf, "$-1\r\n"...)
}

// nullArray answers that there is no such list.
func (r *reply) nullArray() {
	if r.resp3 {
		r.null()
		return
	}
	r.buf = append(r.buf, "*-1\r\n"...)
}

// array begins a list of n answers.
func (r *reply) array(n int) { r.head('*', n) }

// set begins a list of n answers of which none is there twice.
func (r *reply) set(n int) {
	if r.resp3 {
		r.head('~', n)
		return
	}
	r.array(n)
}

// dict begins a list of n pairs of answers.
func (r *reply) dict(n int) {
	if r.resp3 {
		r.head('%', n)
		return
	}
	r.array(2 * n)
}

// lines answers a list of simple strings, as HELP does.
func (r *reply) lines(all ...string) {
	r.array(len(all))
	for _, s := range all {
		r.simple(s)
	}
}
