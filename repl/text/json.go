package text

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"kv/protocol/jsonform"
)

// AppendJSONTo appends r as one JSON object on one line, without its terminator; version too.
func (r Record) AppendJSONTo(dst []byte, version uint64) []byte {
	return jsonform.AppendRecord(dst, r.Key, r.Value, version, r.Expiry)
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

// ParseJSONRecord reads a line of JSON Lines: an object with "key", "value" and, where it expires, "expiry", as AppendJSONTo
// writes it. A "version" may be there too, and means nothing; any other member is refused, and so is one that is there twice.
func ParseJSONRecord(line []byte) (Record, error) {
	if rec, ok := parseOwnJSON(line); ok {
		return rec, nil
	}
	return parseAnyJSON(line)
}

func parseAnyJSON(line []byte) (rec Record, err error) {
	m, err := members(line, "key", "value", "version", "expiry")
	if err != nil {
		return rec, err
	}
	for _, name := range []string{"key", "value"} {
		if m[name] == nil || isNull(m[name]) {
			return rec, fmt.Errorf("no %q, or null", name)
		}
	}
	if rec.Key, err = jsonBytes(m["key"]); err != nil {
		return rec, fmt.Errorf(`"key": %w`, err)
	}
	if rec.Value, err = jsonBytes(m["value"]); err != nil {
		return rec, fmt.Errorf(`"value": %w`, err)
	}
	if raw := m["version"]; raw != nil && !isNull(raw) {
		if _, err := strconv.ParseUint(string(raw), 10, 64); err != nil {
			return rec, fmt.Errorf(`a "version" of %s: it is a number, as export writes it`, shown(raw, 40))
		}
	}
	if raw := m["expiry"]; raw != nil && !isNull(raw) {
		rec.Expiry, err = strconv.ParseUint(string(raw), 10, 64)
		if err != nil || rec.Expiry == 0 {
			return rec, fmt.Errorf(`an "expiry" of %s: it is a time in Unix milliseconds, or null`, shown(raw, 40))
		}
	}
	return rec, nil
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// members returns the members of the JSON object src by their names, each one of known and there once, as they are written.
func members(src []byte, known ...string) (map[string]json.RawMessage, error) {
	in := json.NewDecoder(bytes.NewReader(src))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return nil, notJSON(in, err)
	}
	all := make(map[string]json.RawMessage, len(known))
	for in.More() {
		token, err := in.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, notJSON(in, err)
		}
		if !slices.Contains(known, name) {
			return nil, unknownMember(name, known)
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		var raw json.RawMessage
		if err := in.Decode(&raw); err != nil {
			return nil, notJSON(in, err)
		}
		all[name] = raw
	}
	if _, err := in.Token(); err != nil {
		return nil, notJSON(in, err)
	}
	if _, err := in.Token(); err != io.EOF {
		return nil, errors.New("something behind the JSON object: one a line")
	}
	return all, nil
}

func unknownMember(name string, known []string) error {
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return fmt.Errorf("%q: it is written %q", name, k)
		}
	}
	return fmt.Errorf("%.40q: there are %s", name, strings.Join(known, ", "))
}

// notJSON is the error where a JSON object was to be read. The decoder words its own for programmers.
func notJSON(in *json.Decoder, err error) error {
	at := in.InputOffset()
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		at = syntax.Offset
	}
	switch {
	case err == io.EOF && at == 0:
		return errors.New("an empty line: one JSON object a line")
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return errors.New("a JSON object that does not end: one a line")
	case err == nil:
		return errors.New(`not a JSON object: {"key": …, "value": …}`)
	}
	return fmt.Errorf("not JSON near byte %d", at)
}

// jsonBytes reads a JSON string, or an object with base64.
func jsonBytes(src json.RawMessage) ([]byte, error) {
	switch src[0] {
	case '"':
		// The decoder would replace what is not UTF-8, or half a surrogate pair, without a word.
		if !utf8.Valid(src) {
			return nil, errors.New(`a string that is not UTF-8: write {"base64": "…"}`)
		}
		if bytes.Contains(src, []byte(`\u`)) && loneSurrogate(src) {
			return nil, errors.New("a string with half a surrogate pair")
		}
		var s string
		if err := json.Unmarshal(src, &s); err != nil {
			return nil, errors.New("not a JSON string")
		}
		return []byte(s), nil
	case '{':
		m, err := members(src, "base64")
		if err != nil {
			return nil, err
		}
		var s string
		if m["base64"] == nil || m["base64"][0] != '"' || json.Unmarshal(m["base64"], &s) != nil {
			return nil, errNotBytes
		}
		return decodeBase64([]byte(s))
	}
	return nil, errNotBytes
}

func decodeBase64(s []byte) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().AppendDecode([]byte{}, s)
	if err != nil || bytes.ContainsAny(s, "\r\n") { // the decoder passes line breaks over
		return nil, errors.New("not base64")
	}
	return b, nil
}

var errNotBytes = errors.New(`neither a string nor {"base64": "…"}`)

// parseOwnJSON reads a line exactly as AppendJSONTo writes it. It takes a fraction of the time; anything else is for the real
// decoder.
func parseOwnJSON(line []byte) (rec Record, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte(`{"key":`))
	if !ok {
		return rec, false
	}
	key, rest, ok := cutBytes(rest)
	if !ok {
		return rec, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"value":`)); !ok {
		return rec, false
	}
	value, rest, ok := cutBytes(rest)
	if !ok {
		return rec, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"version":`)); !ok {
		return rec, false
	}
	version, rest, ok := bytes.Cut(rest, []byte(`,"expiry":`))
	if _, err := strconv.ParseUint(string(version), 10, 64); !ok || err != nil || version[0] == '0' && len(version) > 1 {
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

// cutBytes takes what AppendJSON wrote at the start of b off and returns what it stands for, which may be a part of b.
func cutBytes(b []byte) (content, rest []byte, ok bool) {
	encoded, ok := bytes.CutPrefix(b, []byte(`{"base64":"`))
	if !ok {
		return cutString(b)
	}
	end := bytes.Index(encoded, []byte(`"}`))
	if end < 0 {
		return nil, nil, false
	}
	content, err := decodeBase64(encoded[:end])
	return content, encoded[end+2:], err == nil
}

// cutString takes the JSON string at the start of b off and returns what it stands for, which may be a part of b.
func cutString(b []byte) (content, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return nil, nil, false
	}
	escaped := false
	for i := 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"' && escaped:
			content, err := jsonBytes(b[:i+1])
			return content, b[i+1:], err == nil
		case c == '"':
			return b[1:i], b[i+1:], utf8.Valid(b[1:i])
		case c == '\\':
			escaped = true
			i++
		case c < ' ':
			return nil, nil, false
		}
	}
	return nil, nil, false
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
