package jsonform

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Scanner reads one JSON document of a known shape, strictly: what RFC 8259 does not allow, members that nobody knows or that
// are there twice, strings that are not UTF-8 and anything behind the document are errors, which match *Error and say where.
//
// It reads in place: what it returns are parts of the document, which it overwrites on the way, so that a document takes no
// memory but its own. encoding/json would make a copy, or two, of each string, and replaces what is not UTF-8 without a word.
//
// The methods each read one value, which they skip white space before. After an error the scanner is of no use.
type Scanner struct {
	b  []byte
	at int
}

// NewScanner returns a scanner of the document b, which is its own from now on.
func NewScanner(b []byte) *Scanner { return &Scanner{b: b} }

// Error is what is wrong with a document.
type Error struct {
	Path   string // of the value, as records[3].key; "" for the document itself
	Offset int    // of the byte where it was found, from 0
	Reason string
}

// Error says where and what.
func (e *Error) Error() string {
	path := strings.TrimPrefix(e.Path, ".")
	if path != "" {
		path += ": "
	}
	return fmt.Sprintf("%s%s (byte %d)", path, e.Reason, e.Offset)
}

// Fail returns the error that the value which was read last is wrong for a reason.
func (s *Scanner) Fail(format string, args ...any) error {
	return &Error{Offset: s.at, Reason: fmt.Sprintf(format, args...)}
}

// below puts a step before the path of an error.
func below(step string, err error) error {
	if e, ok := err.(*Error); ok {
		e.Path = step + e.Path
	}
	return err
}

// peek returns the next byte that is no white space, 0 at the end.
func (s *Scanner) peek() byte {
	for s.at < len(s.b) {
		switch c := s.b[s.at]; c {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// take reads c.
func (s *Scanner) take(c byte) bool {
	if s.peek() != c || s.at == len(s.b) {
		return false
	}
	s.at++
	return true
}

// unexpected is the error where a wanted value is not.
func (s *Scanner) unexpected(wanted string) error {
	switch c := s.peek(); {
	case s.at == len(s.b):
		return s.Fail("the document ends where %s is wanted", wanted)
	case c > ' ' && c < utf8.RuneSelf:
		return s.Fail("%s is wanted, not %q", wanted, c)
	default:
		return s.Fail("%s is wanted", wanted)
	}
}

// Object reads an object whose members are among names, each at most once, in any order. For each it calls member with the
// place of its name, which reads its value. It returns which were there: bit i for names[i].
func (s *Scanner) Object(names []string, member func(i int) error) (there uint64, err error) {
	if !s.take('{') {
		return 0, s.unexpected("an object")
	}
	if s.take('}') {
		return 0, nil
	}
	for {
		name, err := s.Text()
		if err != nil {
			return 0, err
		}
		i := slices.Index(names, string(name))
		switch {
		case i < 0:
			return 0, s.unknown(string(name), names)
		case there&(1<<i) != 0:
			return 0, s.Fail("%q is there twice", name)
		case !s.take(':'):
			return 0, s.unexpected("a colon")
		}
		if err := member(i); err != nil {
			return 0, below("."+names[i], err)
		}
		there |= 1 << i
		if s.take('}') {
			return there, nil
		}
		if !s.take(',') {
			return 0, s.unexpected("a comma or }")
		}
	}
}

func (s *Scanner) unknown(name string, known []string) error {
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return s.Fail("%q is written %q", name, k)
		}
	}
	return s.Fail("no member is called %.40q: there are %s", name, strings.Join(known, ", "))
}

// Array reads an array. For each element it calls element, which reads it.
func (s *Scanner) Array(element func() error) error {
	if !s.take('[') {
		return s.unexpected("an array")
	}
	if s.take(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := element(); err != nil {
			return below("["+strconv.Itoa(i)+"]", err)
		}
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.unexpected("a comma or ]")
		}
	}
}

// Bytes reads what AppendBytes writes: a string, or an object with base64.
func (s *Scanner) Bytes() (b []byte, err error) {
	if s.peek() != '{' {
		if s.peek() != '"' {
			return nil, s.unexpected(`a string or {"base64": "…"}`)
		}
		return s.Text()
	}
	there, err := s.Object([]string{"base64"}, func(int) error {
		b, err = s.base64()
		return err
	})
	if err == nil && there == 0 {
		err = s.Fail(`neither a string nor {"base64": "…"}`)
	}
	return b, err
}

// base64 reads a string of base64 and decodes it in place.
func (s *Scanner) base64() ([]byte, error) {
	text, err := s.Text()
	if err != nil {
		return nil, err
	}
	strict := base64.StdEncoding.Strict()
	if bytes.ContainsAny(text, "\r\n") { // the decoder passes line breaks over
		return nil, s.Fail("not base64: a line break")
	}
	var part [768]byte
	n := 0
	for from := text; len(from) > 0; {
		some := from[:min(len(from), 1024)]
		from = from[len(some):]
		m, err := strict.Decode(part[:], some)
		if err != nil || len(from) > 0 && m != len(part) { // padding in the midst
			return nil, s.Fail("not base64")
		}
		n += copy(text[n:], part[:m])
	}
	return text[:n:n], nil
}

// Text reads a string.
func (s *Scanner) Text() ([]byte, error) {
	if !s.take('"') {
		return nil, s.unexpected("a string")
	}
	begin := s.at
	s.skipPlain()
	end := s.at // s.b[begin:end] is what was read
	for s.at < len(s.b) {
		switch c := s.b[s.at]; {
		case c == '"':
			s.at++
			return s.b[begin:end:end], nil
		case c == '\\':
			size, err := s.escape(end)
			if err != nil {
				return nil, err
			}
			end += size
		case c < ' ':
			return nil, s.Fail("a control character in a string: write it as an escape")
		case c < utf8.RuneSelf:
			s.b[end] = c
			end++
			s.at++
		default:
			r, size := utf8.DecodeRune(s.b[s.at:])
			if r == utf8.RuneError && size == 1 {
				return nil, s.Fail(`a string that is not UTF-8: write {"base64": "…"}`)
			}
			end += copy(s.b[end:], s.b[s.at:s.at+size])
			s.at += size
		}
	}
	return nil, s.Fail("a string that does not end")
}

// skipPlain goes on to the first byte that does not stand for itself, which most strings have none of before their end.
func (s *Scanner) skipPlain() {
	for i, c := range s.b[s.at:] {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			s.at += i
			return
		}
	}
	s.at = len(s.b)
}

// escape reads an escape in a string and writes what it stands for to s.b[to:], where there is room: an escape is longer.
func (s *Scanner) escape(to int) (size int, err error) {
	if s.at+1 == len(s.b) {
		return 0, s.Fail("a string that does not end")
	}
	if i := strings.IndexByte(`"\/bfnrt`, s.b[s.at+1]); i >= 0 {
		s.b[to] = "\"\\/\b\f\n\r\t"[i]
		s.at += 2
		return 1, nil
	}
	r, ok := s.unit()
	if !ok {
		return 0, s.Fail("no such escape in a string")
	}
	if r >= 0xd800 && r < 0xe000 {
		low, ok := s.unit()
		if r >= 0xdc00 || !ok || low < 0xdc00 || low >= 0xe000 {
			return 0, s.Fail("half a surrogate pair in a string")
		}
		r = 0x10000 + (r-0xd800)<<10 + (low - 0xdc00)
	}
	return utf8.EncodeRune(s.b[to:], r), nil
}

// unit reads \uXXXX.
func (s *Scanner) unit() (rune, bool) {
	if len(s.b)-s.at < 6 || s.b[s.at] != '\\' || s.b[s.at+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range s.b[s.at+2 : s.at+6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 + rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 + rune(c|0x20-'a') + 10
		default:
			return 0, false
		}
	}
	s.at += 6
	return r, true
}

// Null reads null, if that is what comes.
func (s *Scanner) Null() bool {
	s.peek()
	if bytes.HasPrefix(s.b[s.at:], []byte("null")) {
		s.at += len("null")
		return true
	}
	return false
}

// number reads a number and returns it as it is written, if it is a whole one without fraction and exponent.
func (s *Scanner) number(wanted string) (string, error) {
	s.peek()
	end := s.at
	for end < len(s.b) && strings.IndexByte("+-.0123456789Ee", s.b[end]) >= 0 {
		end++
	}
	written := string(s.b[s.at:min(end, s.at+40)])
	digits := strings.TrimPrefix(written, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" || digits[0] == '0' && digits != "0" || end-s.at > 40 {
		if written != "" {
			return "", s.Fail("%s is wanted, not %s", wanted, written)
		}
		return "", s.unexpected(wanted)
	}
	s.at = end
	return written, nil
}

// Uint reads a whole number of 64 bits without a sign.
func (s *Scanner) Uint() (uint64, error) {
	const wanted = "a whole number of 0 and above"
	written, err := s.number(wanted)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(written, 10, 64)
	if err != nil {
		return 0, s.Fail("%s is wanted, not %s", wanted, written)
	}
	return n, nil
}

// Int reads a whole number of 64 bits.
func (s *Scanner) Int() (int64, error) {
	const wanted = "a whole number of 64 bits"
	written, err := s.number(wanted)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(written, 10, 64)
	if err != nil {
		return 0, s.Fail("%s is wanted, not %s", wanted, written)
	}
	return n, nil
}

// End makes sure that there is nothing behind what was read.
func (s *Scanner) End() error {
	if s.peek(); s.at < len(s.b) {
		return s.Fail("something stands behind the document")
	}
	return nil
}
