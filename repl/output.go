package repl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"kv/protocol"
	"kv/protocol/client"
	"kv/protocol/jsonform"
	"kv/protocol/printable"
	"kv/repl/text"
	"kv/repl/words"
)

// What kvc prints, and where. All of it passes through this file.
//
//   - stdout has results and nothing else, so that it can be piped. Into a pipe or a file go exact bytes (get) or the
//     text form. A terminal never gets a raw control byte: there, what is not printable is shown in the shell's quoted
//     form, unless --raw was asked for.
//   - stderr has all that is for a person: errors ("kvc: …"), the (nil) of a script, reports, progress, times. An error
//     that quotes a key, or the server, is made printable first.
//   - In the shell proper, values are always quoted, so that they can be pasted back, and cut at what fits the screen.
//   - Colour is for errors and prompts alone, on a terminal, without NO_COLOR.
//   - Progress bars and live views are drawn on terminals only.

// mode is how commands come in.
type mode uint8

const (
	oneShot     mode = iota // as arguments of kvc
	script                  // line by line from a pipe or a file
	interactive             // typed at a prompt
)

// checkedWriter keeps the first error, so that it can be told from those of the command.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(b []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(b)
	if err != nil {
		c.err = outputError{err}
	}
	return n, c.err
}

// output flushes stdout at the end of a command and returns the error that counts: that the result could not be written
// comes before what the command itself says.
func (s *session) output(err error) error {
	s.out.Flush()
	if s.stdout.err != nil {
		return s.stdout.err
	}
	return err
}

// flush makes what was printed so far appear; its error ends the command.
func (s *session) flush() error {
	s.out.Flush()
	return s.stdout.err
}

// notef prints a line for a person to stderr.
func (s *session) notef(format string, args ...any) {
	fmt.Fprintf(s.env.Err, "%s\n", printable.Line(fmt.Sprintf(format, args...)))
}

// complain prints an error to stderr.
func (s *session) complain(err error) {
	if err == nil || silent(err) || errors.As(err, new(reported)) {
		return
	}
	label := "kvc: "
	if s.mode == interactive {
		label = "error: "
	}
	fmt.Fprintln(s.env.Err, s.colour(red, label)+shortened(printable.Line(message(err))))
}

// message words an error for a person.
func message(err error) string {
	switch cancelled := errors.Is(err, context.Canceled); {
	case cancelled && errors.Is(err, client.ErrUnknown):
		return "cancelled: the outcome of the write is unknown"
	case cancelled:
		return "cancelled"
	}
	return err.Error()
}

// colour is a text in a colour where that is wanted.
func (s *session) colour(code, t string) string {
	if !s.env.ErrTerminal || s.env.Getenv("NO_COLOR") != "" || s.dumb() {
		return t
	}
	return code + t + "\x1b[0m"
}

// dumb reports whether the terminal is taken for one that knows no escape sequences. A console of Windows is: what it
// does with them, and with keys, is another thing, and it edits lines by itself.
func (s *session) dumb() bool { return s.env.Getenv("TERM") == "dumb" || runtime.GOOS == "windows" }

const grey = "\x1b[90m"

const red = "\x1b[31m"

// longestMessage is how much of a message is shown: what is wrong may be all that came.
const longestMessage = 4 << 10

// shortened cuts a message that is longer.
func shortened(msg string) string {
	if len(msg) <= longestMessage {
		return msg
	}
	return strings.ToValidUTF8(msg[:longestMessage], "") + "…"
}

// shown is a key in a message.
func shown(key []byte) string {
	b, cut := words.AppendShortened(nil, key, 200)
	if !cut && string(b[1:len(b)-1]) == words.Bare(string(key)) {
		return string(key)
	}
	return string(b)
}

// quoting reports whether keys and values are shown in the shell's quoted form.
func (s *session) quoting() bool { return s.mode == interactive || s.env.OutTerminal }

// printValue prints the value of a get.
func (s *session) printValue(v []byte, raw bool) {
	switch {
	case raw || !s.quoting():
		s.out.Write(v)
		if (s.mode == oneShot || s.intoPipe) && !s.env.OutTerminal {
			return
		}
	case s.mode == interactive:
		s.printQuoted(v)
	case printable.Is(v):
		s.out.Write(v)
	default:
		s.out.WriteString(words.Quote(v))
	}
	s.out.WriteByte('\n')
}

// printNil says that a get found nothing, where that is no error.
func (s *session) printNil() {
	if s.mode == interactive {
		s.out.WriteString("(nil)\n")
		return
	}
	s.out.Flush() // so that both come in order where both go to one place
	fmt.Fprintln(s.env.Err, "(nil)")
}

// printQuoted prints a value in quotes; in the shell no more of it than fits on the screen.
func (s *session) printQuoted(v []byte) {
	if s.mode != interactive {
		s.out.WriteString(words.Quote(v))
		return
	}
	columns, rows := s.env.Size()
	b, cut := words.AppendShortened(nil, v, max(columns*(rows-4), 4*columns))
	s.out.Write(b)
	if cut {
		fmt.Fprintf(s.out, " (%s in all; get --raw shows them)", size(len(v)))
	}
}

// printField prints a value as a column of a list.
func (s *session) printField(b []byte, end byte) {
	if s.quoting() && end == '\n' {
		s.printQuoted(b)
		return
	}
	s.scratch = text.AppendField(s.scratch[:0], b)
	s.out.Write(s.scratch)
}

// printKey prints a key as a column of a list.
func (s *session) printKey(key []byte, end byte) {
	if s.quoting() && end == '\n' {
		s.out.WriteString(words.Bare(string(key)))
		return
	}
	s.printField(key, end)
}

// printMissing prints that there is no value as a column of a list.
func (s *session) printMissing(end byte) {
	if s.quoting() && end == '\n' {
		s.out.WriteString("(nil)")
		return
	}
	s.out.WriteString(text.Null)
}

// printPair prints one line of mget or scan.
func (s *session) printPair(key []byte, v protocol.Value, end byte) {
	s.printKey(key, end)
	s.out.WriteByte('\t')
	if v.Found {
		s.printField(v.Data, end)
	} else {
		s.printMissing(end)
	}
	s.out.WriteByte(end)
}

// jsonValue prints a key and its value as a JSON object.
func (s *session) jsonValue(key []byte, v protocol.Value) {
	b := append(s.scratch[:0], `{"key":`...)
	b = jsonform.AppendBytes(b, key)
	b = append(b, `,"value":`...)
	if v.Found {
		b = jsonform.AppendBytes(b, v.Data)
	} else {
		b = append(b, "null"...)
	}
	s.scratch = jsonform.AppendMeta(b, v.Version, v.Expiry)
	s.out.Write(s.scratch)
}

// jsonList prints a JSON array, one element a line, as its elements come.
type jsonList struct {
	s *session
	n int
}

func (l *jsonList) next() {
	if l.n++; l.n == 1 {
		l.s.out.WriteString("[\n ")
	} else {
		l.s.out.WriteString(",\n ")
	}
}

func (l *jsonList) close() {
	if l.n == 0 {
		l.s.out.WriteString("[]\n")
	} else {
		l.s.out.WriteString("\n]\n")
	}
}

// jsonMissing prints the JSON of a key that is not there.
func (s *session) jsonMissing(key []byte) {
	s.jsonValue(key, protocol.Value{})
	s.out.WriteByte('\n')
}

// size is a number of bytes for a person.
func size(n int) string {
	switch {
	case n < 1<<10:
		return strconv.Itoa(n) + " B"
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// seconds is a time that passed, for a person.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.3f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

// openOutput makes the buffered stdout of a session.
func (s *session) openOutput() {
	s.stdout = &checkedWriter{w: s.env.Out}
	s.out = bufio.NewWriterSize(s.stdout, 64<<10)
}
