// Package text is the form in which keys and values travel through pipes: one record a line, its fields separated by
// TAB, any bytes escaped so that nothing is lost, as in PostgreSQL's COPY.
//
//	escape   stands for
//	\t       TAB
//	\n       newline
//	\r       carriage return
//	\\       backslash
//	\xHH     the byte with these two hexadecimal digits
//	\N       as a whole field: no value
//
// What is valid, printable UTF-8 stays as it is; everything else becomes \xHH, byte by byte.
package text

import (
	"bytes"
	"errors"
	"fmt"

	"kv/protocol/printable"
)

// Null is the field that stands for a value which is not there.
const Null = `\N`

// AppendField appends the escaped form of b to dst.
func AppendField(dst, b []byte) []byte {
	for len(b) > 0 {
		plain := 0
		for plain < len(b) && b[plain] >= ' ' && b[plain] < 0x7f && b[plain] != '\\' {
			plain++
		}
		dst = append(dst, b[:plain]...)
		if b = b[plain:]; len(b) == 0 {
			break
		}
		n := 1
		switch c := b[0]; {
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\\':
			dst = append(dst, `\\`...)
		default:
			dst, n = printable.AppendRune(dst, b)
		}
		b = b[n:]
	}
	return dst
}

// ErrNull is what Unescape returns for the field \N.
var ErrNull = errors.New(`\N stands for no value`)

// Unescape appends to dst the bytes that the field stands for. The error is ErrNull for \N, or names the wrong escape.
func Unescape(dst, field []byte) ([]byte, error) {
	for len(field) > 0 {
		i := bytes.IndexByte(field, '\\')
		if i < 0 {
			return append(dst, field...), nil
		}
		dst = append(dst, field[:i]...)
		field = field[i:]
		if len(field) == 1 {
			return dst, errors.New(`a backslash at the end: write \\ for a backslash`)
		}
		n := 2
		switch field[1] {
		case 't':
			dst = append(dst, '\t')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case '\\':
			dst = append(dst, '\\')
		case 'x':
			c, ok := HexByte(field[2:])
			if !ok {
				return dst, fmt.Errorf(`%q: \x needs two hexadecimal digits`, shown(field, 4))
			}
			dst = append(dst, c)
			n = 4
		case 'N':
			if i == 0 && len(field) == 2 && len(dst) == 0 {
				return dst, ErrNull
			}
			fallthrough
		default:
			return dst, fmt.Errorf(`%q is no escape: there are \t \n \r \\ \xHH, and \N for a whole field`, shown(field, 2))
		}
		field = field[n:]
	}
	return dst, nil
}

// HexByte reads two hexadecimal digits at the start of b.
func HexByte(b []byte) (byte, bool) {
	if len(b) < 2 {
		return 0, false
	}
	hi, ok1 := hexDigit(b[0])
	lo, ok2 := hexDigit(b[1])
	return hi<<4 | lo, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

func shown(b []byte, n int) []byte { return b[:min(n, len(b))] }
