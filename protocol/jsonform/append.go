// Package jsonform is how keys, values and records stand in JSON, wherever the project writes or reads it: kvc's --json, its
// export and import, and the HTTP API.
//
//	{"key":"user:1","value":{"base64":"/w=="},"version":1764360000000000,"expiry":1764363600000}
//
// Bytes that are valid UTF-8 are a string, any other {"base64": "…"}; either form may be read for any bytes. An expiry is in
// Unix milliseconds, or null. Of an absent key the value is null and the version 0.
package jsonform

import (
	"encoding/base64"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendBytes appends b as JSON: a string where it is valid UTF-8, else {"base64": "…"}.
func AppendBytes(dst, b []byte) []byte {
	if !utf8.Valid(b) {
		dst = append(dst, base64Open...)
		dst = base64.StdEncoding.AppendEncode(dst, b)
		return append(dst, base64Close...)
	}
	dst = append(dst, '"')
	dst = appendEscaped(dst, b)
	return append(dst, '"')
}

const (
	base64Open  = `{"base64":"`
	base64Close = `"}`
)

// appendEscaped appends UTF-8 as it stands between the quotes of a JSON string.
func appendEscaped(dst, b []byte) []byte {
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
	return dst
}

// AppendExpiry appends an expiry: a number of Unix milliseconds, or null where there is none.
func AppendExpiry(dst []byte, expiry uint64) []byte {
	if expiry == 0 {
		return append(dst, "null"...)
	}
	return strconv.AppendUint(dst, expiry, 10)
}

// AppendRecord appends a record as one object on one line, without its terminator.
func AppendRecord(dst, key, value []byte, version, expiry uint64) []byte {
	dst = append(dst, `{"key":`...)
	dst = AppendBytes(dst, key)
	dst = append(dst, `,"value":`...)
	dst = AppendBytes(dst, value)
	return AppendMeta(dst, version, expiry)
}

// AppendMeta appends the end of a record: what stands behind its key, or its value.
func AppendMeta(dst []byte, version, expiry uint64) []byte {
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendUint(dst, version, 10)
	dst = append(dst, `,"expiry":`...)
	return append(AppendExpiry(dst, expiry), '}')
}
