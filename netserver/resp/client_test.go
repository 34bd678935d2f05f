package resp_test

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/netserver/resp"
)

// withDoor are options of a server that speaks RESP.
func withDoor(c netserver.Config) nettest.Options {
	c.Doors = []netserver.Door{resp.New(resp.Options{})}
	return nettest.Options{Config: c}
}

// client is a client of RESP that shows answers as text.
type client struct {
	t testing.TB
	*nettest.Conn
	in *bufio.Reader
}

func dial(t testing.TB, s *nettest.Server) *client {
	c := s.Dial(t)
	return &client{t, c, bufio.NewReader(c)}
}

// request is one as clients send it.
func request(args ...string) string {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return string(b)
}

// words cuts a line at its spaces.
func words(line string) []string { return strings.Fields(line) }

func (c *client) send(raw ...string) {
	c.t.Helper()
	_, err := c.Write([]byte(strings.Join(raw, "")))
	require.NoError(c.t, err)
}

// do sends a line as an array and returns the answer.
func (c *client) do(line string) string {
	c.t.Helper()
	c.send(request(words(line)...))
	return c.next()
}

// next reads an answer: (1) is a number, "a" a string, nil nothing, [a b] a list, {a b} a map or a set; simple strings
// and errors are as they are.
func (c *client) next() string {
	c.t.Helper()
	s, err := c.read()
	require.NoError(c.t, err)
	return s
}

func (c *client) read() (string, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", fmt.Errorf("an empty line")
	}
	rest := line[1:]
	switch line[0] {
	case '+', '-', ',':
		return rest, nil
	case ':':
		return "(" + rest + ")", nil
	case '_':
		return "nil", nil
	case '$', '=':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "nil", err
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.in, b); err != nil {
			return "", err
		}
		if string(b[n:]) != "\r\n" {
			return "", fmt.Errorf("a string ends with %q", b[n:])
		}
		return `"` + string(b[:n]) + `"`, nil
	case '*', '%', '~':
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 {
			return "nil", err
		}
		if line[0] == '%' {
			n *= 2
		}
		all := make([]string, n)
		for i := range all {
			if all[i], err = c.read(); err != nil {
				return "", err
			}
		}
		if line[0] == '*' {
			return "[" + strings.Join(all, " ") + "]", nil
		}
		return "{" + strings.Join(all, " ") + "}", nil
	}
	return "", fmt.Errorf("an answer that begins with %q", line)
}

// expect runs lines of commands, each with "=>" and its answer, where … stands for any text.
func (c *client) expect(script string) {
	c.t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(script), "\n") {
		typed, want, ok := strings.Cut(strings.TrimSpace(line), " => ")
		require.True(c.t, ok, line)
		got := c.do(typed)
		before, after, open := strings.Cut(want, "…")
		if open && strings.HasPrefix(got, before) && strings.HasSuffix(got, after) {
			continue
		}
		require.Equal(c.t, want, got, typed)
	}
}

// expectClosed waits for the end of the connection.
func (c *client) expectClosed() {
	c.t.Helper()
	rest, err := io.ReadAll(c.in)
	require.NoError(c.t, err)
	require.Empty(c.t, string(rest))
}
