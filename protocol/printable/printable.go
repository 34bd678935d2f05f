// Package printable says what a terminal may be shown, and escapes the rest: names and messages that others wrote may
// hold anything, and a control sequence moves a cursor, or worse. What is valid, printable UTF-8 stays as it is;
// everything else becomes \xHH, byte by byte.
package printable

import (
	"unicode"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// Is reports whether b is valid UTF-8 that a terminal shows as it is: no control characters among it, a newline neither.
func Is[T string | []byte](b T) bool {
	for rest := []byte(b); len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if !shown(r, n) {
			return false
		}
		rest = rest[n:]
	}
	return true
}

func shown(r rune, n int) bool { return (r != utf8.RuneError || n > 1) && unicode.IsPrint(r) }

// AppendRune appends the first rune of b, which is not empty: as it is where it is printable, else as \xHH for each of
// its bytes. It returns how many bytes of b that was.
func AppendRune(dst, b []byte) ([]byte, int) {
	r, n := utf8.DecodeRune(b)
	if shown(r, n) {
		return append(dst, b[:n]...), n
	}
	for _, c := range b[:n] {
		dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
	}
	return dst, n
}

// Line returns s as one line, with \n for each newline, so that a foreign text can't begin a line that looks like one
// of ours.
func Line(s string) string { return escaped(s, `\n`) }

// Lines returns s with its newlines.
func Lines(s string) string { return escaped(s, "\n") }

// escaped returns s with this for each newline.
func escaped(s, newline string) string {
	if Is(s) {
		return s
	}
	var b []byte
	for rest := []byte(s); len(rest) > 0; {
		n := 1
		if rest[0] == '\n' {
			b = append(b, newline...)
		} else {
			b, n = AppendRune(b, rest)
		}
		rest = rest[n:]
	}
	return string(b)
}
