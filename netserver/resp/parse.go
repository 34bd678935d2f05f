package resp

import (
	"bytes"
	"fmt"
	"math"
)

// A request is an array of bulk strings, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", or an inline command, "GET a\r\n".

const (
	// maxLine is the longest line: an inline command, or the head of an array or a bulk string. As in Redis.
	maxLine = 64 << 10
	// maxArgs is how many arguments a request may have: as in Redis.
	maxArgs = math.MaxInt32
	// Before a login, as in Redis.
	loginArgs = 10
	loginBulk = 16 << 10
)

// protocolError is what came that can't be a request. The connection ends with it, since nobody knows where the next one begins.
type protocolError string

// Error is what the client is told, in Redis's words.
func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// limits are what a client may send.
type limits struct {
	bulk     int  // the longest argument
	loggedIn bool // false: it has yet to log in, and gets little
}

// progress is how far a request has been looked through that has not come whole, so that no byte is looked at twice however
// slowly it comes. The zero progress is at the beginning of a request.
type progress struct {
	// at is where the next line begins, behind all that has been looked at. It may be behind what has come: inside of a bulk
	// string.
	at    int
	args  int  // how many arguments are still to come from there on
	begun bool // the first line has come
}

// advance looks at p, which begins with the request, from where it left off. It returns true when the request is whole, and is
// p[:g.at] then. If it is not, need says how much of p has to be there before it makes sense to go on.
//
// It allocates nothing, whatever lengths the request claims.
func (g *progress) advance(p []byte, l limits) (whole bool, err error) {
	if !g.begun {
		n, next := 0, 0
		switch {
		case len(p) == 0:
			return false, nil
		case p[0] == '*':
			n, next, err = arrayHead(p, l)
		default:
			next, err = lineEnd(p, "too big inline request")
		}
		if next == 0 || err != nil {
			return false, err
		}
		g.at, g.args, g.begun = next, max(n, 0), true
	}
	for g.args > 0 && g.at < len(p) {
		n, next, err := bulkHead(p, g.at, l)
		if next == 0 || err != nil {
			return false, err
		}
		g.at = next + n + 2
		g.args--
	}
	return g.args == 0 && g.at <= len(p), nil
}

// need is how many bytes of the request have to be there, at least, before advance gets any further. have is how many are.
func (g *progress) need(have int) int {
	if g.begun && g.args == 0 {
		return g.at
	}
	return max(g.at, have) + 1
}

// skip takes n bytes off the front of what the progress counts from, for one who does not keep them.
func (g *progress) skip(n int) { g.at -= n }

// parse appends the arguments of the request at the start of p to dst; they lie in p. used is how long the request is, 0 if it
// has not come whole. A request may have no arguments: an empty line or array.
func parse(dst [][]byte, p []byte, l limits) (args [][]byte, used int, err error) {
	if len(p) == 0 {
		return dst, 0, nil
	}
	if p[0] != '*' {
		return parseInline(dst, p)
	}
	n, at, err := arrayHead(p, l)
	if at == 0 || err != nil {
		return dst, 0, err
	}
	args = dst
	for ; n > 0; n-- {
		size, next, err := bulkHead(p, at, l)
		if next == 0 || err != nil {
			return dst, 0, err
		}
		at = next + size + 2
		if at > len(p) {
			return dst, 0, nil
		}
		if p[at-2] != '\r' || p[at-1] != '\n' {
			return dst, 0, protocolError("a bulk string is longer than its length says")
		}
		args = append(args, p[next:next+size:next+size])
	}
	return args, at, nil
}

// arrayHead reads "*<n>\r\n". next is where the line ends, 0 if it has not come whole.
func arrayHead(p []byte, l limits) (n, next int, err error) {
	// Nearly always it is one digit.
	if len(p) >= 4 && p[2] == '\r' && p[3] == '\n' && p[1]-'1' < 9 {
		return int(p[1] - '0'), 4, nil
	}
	n, next, ok, err := head(p, 0, "too big mbulk count string")
	switch {
	case err != nil || next == 0:
		return 0, 0, err
	case !ok || n > maxArgs:
		return 0, 0, protocolError("invalid multibulk length")
	case n > loginArgs && !l.loggedIn:
		return 0, 0, protocolError("unauthenticated multibulk length")
	}
	return n, next, nil
}

// bulkHead reads "$<n>\r\n" at p[at:]. next is where the line ends, 0 if it has not come whole.
func bulkHead(p []byte, at int, l limits) (n, next int, err error) {
	if at >= len(p) {
		return 0, 0, nil
	}
	if p[at] != '$' {
		if _, next, _, err = head(p, at, "too big bulk count string"); err != nil || next == 0 {
			return 0, 0, err
		}
		return 0, 0, protocolError(fmt.Sprintf("expected '$', got '%c'", printable(p[at])))
	}
	// Nearly always it has one digit, or two.
	if q := p[at:]; len(q) >= 5 && l.bulk >= 100 {
		a, b := q[1]-'0', q[2]-'0'
		switch {
		case a < 10 && q[2] == '\r' && q[3] == '\n':
			return int(a), at + 4, nil
		case a-1 < 9 && b < 10 && q[3] == '\r' && q[4] == '\n':
			return int(a)*10 + int(b), at + 5, nil
		}
	}
	n, next, ok, err := head(p, at, "too big bulk count string")
	switch {
	case err != nil || next == 0:
		return 0, 0, err
	case !ok || n < 0 || n > l.bulk:
		return 0, 0, protocolError("invalid bulk length")
	case n > loginBulk && !l.loggedIn:
		return 0, 0, protocolError("unauthenticated bulk length")
	}
	return n, next, nil
}

// head reads the number in the line at p[at:], behind its first byte. ok is false if it is none.
func head(p []byte, at int, tooBig string) (n, next int, ok bool, err error) {
	end, err := lineEnd(p[at:], tooBig)
	if end == 0 || err != nil {
		return 0, 0, false, err
	}
	if end < len("*\r\n") || p[at+end-2] != '\r' {
		return 0, at + end, false, nil
	}
	v, ok := parseInt(p[at+1 : at+end-2])
	return int(v), at + end, ok, nil
}

// lineEnd returns how long the line at the start of p is, with its end; 0: it has not come whole.
func lineEnd(p []byte, tooBig string) (int, error) {
	if i := bytes.IndexByte(p[:min(len(p), maxLine+2)], '\n'); i >= 0 {
		return i + 1, nil
	}
	if len(p) > maxLine {
		return 0, protocolError(tooBig)
	}
	return 0, nil
}

func printable(b byte) rune {
	if b < ' ' || b > '~' {
		return '?'
	}
	return rune(b)
}
