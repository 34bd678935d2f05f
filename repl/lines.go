package repl

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"kv/repl/text"
	"kv/repl/words"
)

// lines reads commands from a pipe or a file, one a line; an open quote goes on in the next. Blank lines and those that
// begin with # are skipped.
type lines struct {
	in     *bufio.Reader
	number int // of the line that was read last, counted from 1
}

// line is one command and where it begins.
type line struct {
	number int
	words  []words.Word
}

func newLines(in *bufio.Reader) *lines { return &lines{in: in} }

// next returns the next command, or io.EOF. Any other error is a lineError; after one of wrong usage, the next call goes
// on with the line after it.
func (l *lines) next() (line, error) {
	for {
		first, err := l.read()
		if err != nil {
			return line{}, err
		}
		if trimmed := strings.TrimLeft(first, " \t"); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		at := l.number
		if err := text.CheckLine([]byte(first)); err != nil {
			return line{}, lineError{at, usageError{err.Error()}}
		}
		ws, err := words.Split(first)
		if errors.Is(err, words.ErrOpenQuote) {
			ws, err = l.continued(first)
		}
		switch read := (lineError{}); {
		case err == io.EOF:
			return line{}, lineError{at, usagef("the input ends inside of quotes")}
		case errors.As(err, &read):
			return line{}, err
		case err != nil:
			return line{}, lineError{at, usageError{err.Error()}}
		}
		return line{at, ws}, nil
	}
}

// continued reads on until the open quote of first is closed.
func (l *lines) continued(first string) ([]words.Word, error) {
	whole := []byte(first)
	for {
		more, err := l.read()
		if err != nil {
			return nil, err
		}
		whole = append(append(whole, '\n'), more...)
		if strings.ContainsAny(more, `"'`) { // else it can't be closed yet, and a long value is not split line by line
			ws, err := words.Split(string(whole))
			if !errors.Is(err, words.ErrOpenQuote) {
				return ws, err
			}
		}
	}
}

// read returns the next line without its newline.
func (l *lines) read() (string, error) {
	b, err := l.in.ReadBytes('\n')
	if err == io.EOF && len(b) > 0 {
		err = nil
	}
	if err == io.EOF {
		return "", err
	}
	if err != nil {
		return "", lineError{l.number + 1, fileError{err}}
	}
	if l.number == 0 {
		if err := text.CheckFirstLine(b, '\n'); err != nil {
			return "", lineError{1, fileError{err}}
		}
	}
	l.number++
	return string(bytes.TrimSuffix(b, []byte{'\n'})), nil
}
