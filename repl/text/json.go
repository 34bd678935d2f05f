package text

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendJSON appends b as JSON: a string where it is valid UTF-8, else {"base64": "…"}.
func AppendJSON(dst, b []byte) []byte {
	if !utf8.Valid(b) {
		dst = append(dst, `{"base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, b)
		return append(dst, `"}`...)
	}
	dst = append(dst, '"')
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case unicode.IsPrint(r):
			dst = append(dst, b[:n]...)
		default: // a terminal might act on it
			for _, u := range utf16.AppendRune(nil, r) {
				dst = append(dst, '\\', 'u', hexDigits[u>>12], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
			}
		}
		b = b[n:]
	}
	return append(dst, '"')
}

// AppendJSONTo appends r as one JSON object on one line, without its terminator; version too.
func (r Record) AppendJSONTo(dst []byte, version uint64) []byte {
	dst = append(dst, `{"key":`...)
	dst = AppendJSON(dst, r.Key)
	dst = append(dst, `,"value":`...)
	dst = AppendJSON(dst, r.Value)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendUint(dst, version, 10)
	dst = append(dst, `,"expiry":`...)
	return append(AppendJSONExpiry(dst, r.Expiry), '}')
}

// AppendJSONExpiry appends an expiry: a number of Unix milliseconds, or null where there is none.
func AppendJSONExpiry(dst []byte, expiry uint64) []byte {
	if expiry == 0 {
		return append(dst, "null"...)
	}
	return strconv.AppendUint(dst, expiry, 10)
}

// jsonBytes is a JSON string, or an object with base64.
type jsonBytes struct{ b []byte }

func (j *jsonBytes) UnmarshalJSON(src []byte) error {
	if len(src) > 0 && src[0] == '"' {
		// The decoder would replace what is not UTF-8, or half a surrogate pair, without a word.
		if !utf8.Valid(src) {
			return errors.New("a string that is not UTF-8: write {\"base64\": \"…\"}")
		}
		var s string
		if err := json.Unmarshal(src, &s); err != nil {
			return err
		}
		if bytes.Contains(src, []byte(`\u`)) && loneSurrogate(src) {
			return errors.New("a string with half a surrogate pair")
		}
		j.b = []byte(s)
		return nil
	}
	var o struct {
		Base64 *[]byte `json:"base64"`
	}
	if err := json.Unmarshal(src, &o); err != nil || o.Base64 == nil {
		return errors.New("neither a string nor {\"base64\": \"…\"}")
	}
	j.b = *o.Base64
	return nil
}

// loneSurrogate reports whether the JSON string src has a \uD800 to \uDFFF that is not half of a pair.
func loneSurrogate(src []byte) bool {
	unit := func(b []byte) int {
		if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
			return 0
		}
		n, _ := strconv.ParseUint(string(b[2:6]), 16, 16)
		return int(n)
	}
	for i := 0; i < len(src); i++ {
		if src[i] != '\\' {
			continue
		}
		switch u := unit(src[i:]); {
		case u >= 0xd800 && u < 0xdc00 && unit(src[i+6:])>>10 == 0xdc00>>10:
			i += 11
		case u >= 0xd800 && u < 0xe000:
			return true
		default:
			i++
		}
	}
	return false
}

// ParseJSONRecord reads a line of JSON Lines: an object with "key", "value" and, where it expires, "expiry". What else is
// in it is ignored.
func ParseJSONRecord(line []byte) (Record, error) {
	if rec, ok := parseOwnJSON(line); ok {
		return rec, nil
	}
	return parseAnyJSON(line)
}

func parseAnyJSON(line []byte) (Record, error) {
	var o struct {
		Key    *jsonBytes `json:"key"`
		Value  *jsonBytes `json:"value"`
		Expiry *uint64    `json:"expiry"`
	}
	if err := json.Unmarshal(line, &o); err != nil {
		return Record{}, fmt.Errorf("not a JSON object of a key and a value: %w", err)
	}
	switch {
	case o.Key == nil:
		return Record{}, errors.New(`no "key"`)
	case o.Value == nil:
		return Record{}, errors.New(`no "value", or null`)
	}
	rec := Record{Key: o.Key.b, Value: o.Value.b}
	if o.Expiry != nil {
		if rec.Expiry = *o.Expiry; rec.Expiry == 0 {
			return Record{}, fmt.Errorf(`an "expiry" of %d: it is a time in Unix milliseconds, or null`, rec.Expiry)
		}
	}
	return rec, nil
}

// parseOwnJSON reads a line as AppendJSONTo writes it, where the strings need no decoding: what most of an export is. It
// takes a tenth of the time; anything else is for the real decoder.
func parseOwnJSON(line []byte) (rec Record, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"key":"`))
	if !ok {
		return rec, false
	}
	key, rest, ok := bytes.Cut(rest, []byte(`","value":"`))
	if !ok || !verbatim(key) {
		return rec, false
	}
	value, rest, ok := bytes.Cut(rest, []byte(`","version":`))
	if !ok || !verbatim(value) {
		return rec, false
	}
	version, rest, ok := bytes.Cut(rest, []byte(`,"expiry":`))
	if _, err := strconv.ParseUint(string(version), 10, 64); !ok || err != nil {
		return rec, false
	}
	expiry, ok := bytes.CutSuffix(rest, []byte{'}'})
	if !ok {
		return rec, false
	}
	if string(expiry) != "null" {
		var err error
		if rec.Expiry, err = parseExpiry(expiry); err != nil || expiry[0] == '0' {
			return rec, false
		}
	}
	both := append(append(make([]byte, 0, len(key)+len(value)), key...), value...)
	rec.Key, rec.Value = both[:len(key):len(key)], both[len(key):]
	return rec, true
}

// verbatim reports whether b, between quotes, is a JSON string that stands for itself.
func verbatim(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return utf8.Valid(b)
}

// JSONRecord reads the next line as ParseJSONRecord does. After a *SyntaxError the next call goes on with the next line.
func (r *Reader) JSONRecord() (Record, error) {
	line, err := r.Next()
	if err != nil {
		return Record{}, err
	}
	rec, err := ParseJSONRecord(line)
	if err != nil {
		return Record{}, &SyntaxError{r.line, err}
	}
	return rec, nil
}
