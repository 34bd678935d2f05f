// Package words splits a command line of the shell into words, and quotes bytes so that they are one word again.
//
// Words are separated by spaces and TABs. "…" may hold the escapes \n \r \t \" \\ \xHH, and no other; in '…' nothing is
// special. A quote may begin inside a word, and the word ends where the quote ends. Outside of quotes a backslash is a
// character like any other.
package words

import (
	"errors"
	"fmt"
	"math"

	"kv/protocol/printable"
	"kv/repl/text"
)

// Word is one word of a line.
type Word struct {
	Text   string // any bytes
	Quoted bool   // it was written in quotes, so it is never an option
	Start  int    // where it begins in the line, in bytes, its quote included
}

// ErrOpenQuote is the error of a line that ends inside quotes.
var ErrOpenQuote = errors.New("a quote is open")

// Split returns the words of line. An error that matches ErrOpenQuote means that the line may go on after a newline; any
// other names the column, counted from 1, in bytes. The words before the error are returned too.
func Split(line string) ([]Word, error) {
	var words []Word
	for i := 0; i < len(line); {
		if space(line[i]) {
			i++
			continue
		}
		w, end, err := word(line, i)
		if err != nil {
			return words, err
		}
		words = append(words, w)
		i = end
	}
	return words, nil
}

// word reads the word that begins at line[start:] and returns where it ends.
func word(line string, start int) (w Word, end int, err error) {
	w = Word{Start: start, Quoted: line[start] == '"' || line[start] == '\''}
	for end = start; end < len(line) && !space(line[end]); end++ {
		c := line[end]
		if c != '"' && c != '\'' {
			continue
		}
		w.Text = line[start:end]
		var in string
		if c == '"' {
			in, end, err = double(line, end)
		} else {
			in, end, err = single(line, end)
		}
		if err == nil && end < len(line) && !space(line[end]) {
			err = fmt.Errorf("column %d: a space is missing after the closing quote", end+1)
		}
		w.Text += in
		return w, end, err
	}
	w.Text = line[start:end]
	return w, end, nil
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// single reads '…' at line[start:] and returns what is in it and where it ends.
func single(line string, start int) (string, int, error) {
	for i := start + 1; i < len(line); i++ {
		if line[i] == '\'' {
			return line[start+1 : i], i + 1, nil
		}
	}
	return "", len(line), openQuote(start)
}

// double reads "…" at line[start:].
func double(line string, start int) (string, int, error) {
	var b []byte
	for i := start + 1; i < len(line); i++ {
		switch line[i] {
		case '"':
			return string(b), i + 1, nil
		case '\\':
			if i+1 == len(line) {
				return "", len(line), openQuote(start)
			}
			c, n, err := escape(line[i:])
			if err != nil {
				return "", i, fmt.Errorf("column %d: %w", i+1, err)
			}
			b = append(b, c)
			i += n - 1
		default:
			b = append(b, line[i])
		}
	}
	return "", len(line), openQuote(start)
}

// escape reads one escape at the start of s, which has two bytes at least.
func escape(s string) (c byte, n int, err error) {
	switch s[1] {
	case 'n':
		return '\n', 2, nil
	case 'r':
		return '\r', 2, nil
	case 't':
		return '\t', 2, nil
	case '"', '\\':
		return s[1], 2, nil
	case 'x':
		if c, ok := text.HexByte([]byte(s[2:min(4, len(s))])); ok {
			return c, 4, nil
		}
		return 0, 0, errors.New(`\x needs two hexadecimal digits`)
	}
	return 0, 0, fmt.Errorf(`%q is no escape: there are \n \r \t \" \\ \xHH`, s[:2])
}

func openQuote(start int) error {
	return fmt.Errorf("%w: it began at column %d", ErrOpenQuote, start+1)
}

// AppendQuoted appends b as a word in double quotes that Split reads back as b. Valid, printable UTF-8 stays as it is.
func AppendQuoted(dst, b []byte) []byte {
	dst, _ = appendEscaped(append(dst, '"'), b, math.MaxInt)
	return append(dst, '"')
}

// AppendShortened appends the quoted form of b, cut off with an ellipsis after about limit bytes; it reports whether it was
// cut. What was cut can't be read back.
func AppendShortened(dst, b []byte, limit int) (_ []byte, cut bool) {
	dst, rest := appendEscaped(append(dst, '"'), b, limit)
	if len(rest) > 0 {
		return append(dst, `"…`...), true
	}
	return append(dst, '"'), false
}

// appendEscaped escapes b as it stands between double quotes, until limit bytes were appended; it returns what is left.
func appendEscaped(dst, b []byte, limit int) (_, rest []byte) {
	for start := len(dst); len(b) > 0 && len(dst)-start < limit; {
		n := 1
		switch c := b[0]; c {
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		case '"', '\\':
			dst = append(dst, '\\', c)
		default:
			dst, n = printable.AppendRune(dst, b)
		}
		b = b[n:]
	}
	return dst, b
}

// Quote returns b as AppendQuoted does.
func Quote(b []byte) string { return string(AppendQuoted(nil, b)) }

// Bare returns s as it is where Split reads that as one word and no option or |, else in quotes.
func Bare(s string) string {
	if s == "" || s == "|" || s[0] == '-' || s[0] == '#' || !printable.Is(s) {
		return Quote([]byte(s))
	}
	for i := range len(s) {
		if c := s[i]; space(c) || c == '"' || c == '\'' {
			return Quote([]byte(s))
		}
	}
	return s
}
