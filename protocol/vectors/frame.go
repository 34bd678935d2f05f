package vectors

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"kv/protocol"
)

// Captures are the bytes that responses had in place of named placeholders.
type Captures map[string][]byte

// Frame is one frame of an exchange: bytes, and placeholders for those that nobody can know beforehand.
type Frame []part

// part is fixed bytes, or one placeholder.
type part struct {
	kind  kind
	fixed []byte            // fixed
	name  string            // capture, cursor, recall; "_": not kept
	size  int               // capture: how many bytes
	ms    uint64            // within
	stats map[string]uint64 // stats
}

type kind uint8

const (
	fixed   kind = iota
	length       // <length>: the frame's length field
	capture      // <name:N>: any N bytes
	cursor       // <cursor:name>: a u16 length and so many bytes, all of them captured
	recall       // <=name>: what was captured
	within       // <within:MS>: a time in Unix milliseconds that lies ahead, by MS at most
	text         // <text>: UTF-8, not empty, up to the end of the frame
	rest         // <rest>: any bytes up to the end of the frame
	stats        // <stats NAME=VALUE ...>: the body of a STATS answer with at least these, in any order
)

// parseFrame reads the tokens of one frame.
func parseFrame(s string) (Frame, error) {
	var f Frame
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		var p part
		var err error
		if s[0] == '<' {
			inner, after, ok := strings.Cut(s[1:], ">")
			if !ok {
				return nil, fmt.Errorf("%q is not closed", s)
			}
			p, err = parsePlaceholder(inner)
			s = after
		} else {
			token := s
			if i := strings.IndexAny(s, " <"); i >= 0 {
				token = s[:i]
			}
			s = s[len(token):]
			p.fixed, err = parseHex(token)
		}
		if err != nil {
			return nil, err
		}
		f = append(f, p)
	}
	if len(f) == 0 {
		return nil, errors.New("an empty frame")
	}
	return f, nil
}

// parseHex reads hex digits, with *N behind them where they are repeated N times.
func parseHex(token string) ([]byte, error) {
	digits, times, repeated := strings.Cut(token, "*")
	b, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", token, err)
	}
	if !repeated {
		return b, nil
	}
	n, err := strconv.Atoi(times)
	if err != nil || n < 0 || n > 1<<28 {
		return nil, fmt.Errorf("%q: not a number of times", token)
	}
	return bytes.Repeat(b, n), nil
}

func parsePlaceholder(s string) (part, error) {
	name, arg, _ := strings.Cut(s, ":")
	switch {
	case s == "length":
		return part{kind: length}, nil
	case s == "text":
		return part{kind: text}, nil
	case s == "rest":
		return part{kind: rest}, nil
	case name == "cursor" && arg != "":
		return part{kind: cursor, name: arg}, nil
	case name == "within":
		ms, err := strconv.ParseUint(arg, 10, 64)
		return part{kind: within, ms: ms}, err
	case strings.HasPrefix(s, "="):
		return part{kind: recall, name: s[1:]}, nil
	case s == "stats" || strings.HasPrefix(s, "stats "):
		p := part{kind: stats, stats: map[string]uint64{}}
		for _, pair := range strings.Fields(s)[1:] {
			name, value, _ := strings.Cut(pair, "=")
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return p, err
			}
			p.stats[name] = n
		}
		return p, nil
	}
	size, err := strconv.Atoi(arg)
	if err != nil || name == "" || size < 1 || size > 1<<16 {
		return part{}, fmt.Errorf("<%s> is no placeholder", s)
	}
	return part{kind: capture, name: name, size: size}, nil
}

// bytes returns the frame to send, with what was captured before.
func (f Frame) bytes(captured Captures) ([]byte, error) {
	var b []byte
	size := -1 // where the length is to be filled in
	for _, p := range f {
		switch p.kind {
		case fixed:
			b = append(b, p.fixed...)
		case length:
			size = len(b)
			b = append(b, 0, 0, 0, 0)
		case recall:
			v, ok := captured[p.name]
			if !ok {
				return nil, fmt.Errorf("<=%s> before it was captured", p.name)
			}
			b = append(b, v...)
		default:
			return nil, errors.New("a request can hold no placeholder but <length> and <=name>")
		}
	}
	if size >= 0 {
		binary.BigEndian.PutUint32(b[size:], uint32(len(b)-size-4))
	}
	return b, nil
}

// Sample returns a frame that could stand for f: what was captured where there is something, else bytes made up, which it
// captures. So the frames of a scenario can be looked at without a server.
func (f Frame) Sample(captured Captures) ([]byte, error) {
	filled := make(Frame, 0, len(f))
	for _, p := range f {
		var b []byte
		switch p.kind {
		case fixed, length, recall:
			filled = append(filled, p)
			continue
		case capture:
			b = make([]byte, p.size)
			b[p.size-1] = byte(1 + len(captured))
			captured[p.name] = b
		case cursor:
			b = []byte{0, 1, 0xee}
			captured[p.name] = b
		case within:
			b = binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixMilli())+p.ms)
		case text:
			b = []byte("a message")
		case rest:
			b = make([]byte, 4) // a count of 0, where one belongs
		case stats:
			b = sampleStats(p.stats)
		}
		filled = append(filled, part{fixed: b})
	}
	return filled.bytes(captured)
}

func sampleStats(want map[string]uint64) []byte {
	var list []protocol.Stat
	for name, value := range want {
		list = append(list, protocol.Stat{Name: name, Value: value})
	}
	return protocol.AppendStats(nil, 0, list)[protocol.HeaderSize:]
}

// Match reports how got, one whole frame, differs from f, and captures what f names.
func (f Frame) Match(got []byte, captured Captures) error {
	left := got
	for i, p := range f {
		n, err := p.match(left, len(left) == len(got), captured)
		if err != nil {
			return fmt.Errorf("part %d, byte %d: %w; the frame is %x", i, len(got)-len(left), err, clip(got))
		}
		left = left[n:]
	}
	if len(left) > 0 {
		return fmt.Errorf("%d bytes too many; the frame is %x", len(left), clip(got))
	}
	return nil
}

// match returns how many bytes of b the part takes. first: b is the whole frame.
func (p part) match(b []byte, first bool, captured Captures) (int, error) {
	need := func(n int) error {
		if len(b) < n {
			return fmt.Errorf("%d bytes are left where %d belong", len(b), n)
		}
		return nil
	}
	literal := func(want []byte) (int, error) {
		if !bytes.HasPrefix(b, want) {
			return 0, fmt.Errorf("%x, not %x", clip(b[:min(len(b), len(want))]), clip(want))
		}
		return len(want), nil
	}
	switch p.kind {
	case fixed:
		return literal(p.fixed)
	case length:
		if !first {
			return 0, errors.New("<length> stands at the start of a frame")
		}
		return 4, need(4) // the frame was read by it
	case recall:
		want, ok := captured[p.name]
		if !ok {
			return 0, fmt.Errorf("<=%s> before it was captured", p.name)
		}
		return literal(want)
	case capture:
		return p.keep(b, p.size, need(p.size), captured)
	case cursor:
		if err := need(2); err != nil {
			return 0, err
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		return p.keep(b, n, need(n), captured)
	case within:
		if err := need(8); err != nil {
			return 0, err
		}
		at, now := binary.BigEndian.Uint64(b), uint64(time.Now().UnixMilli())
		if at <= now || at > now+p.ms {
			return 0, fmt.Errorf("the time %d is not within %d ms after %d", at, p.ms, now)
		}
		return 8, nil
	case text:
		if len(b) == 0 || !utf8.Valid(b) {
			return 0, errors.New("no UTF-8 text")
		}
	case stats:
		return len(b), matchStats(b, p.stats)
	}
	return len(b), nil
}

// keep captures n bytes of b, unless there is an error.
func (p part) keep(b []byte, n int, err error, captured Captures) (int, error) {
	if err == nil && p.name != "_" {
		captured[p.name] = bytes.Clone(b[:n])
	}
	return n, err
}

func matchStats(body []byte, want map[string]uint64) error {
	list, err := protocol.ParseStats(body)
	if err != nil {
		return err
	}
	missing := maps.Clone(want)
	for _, s := range list {
		if n, asked := missing[s.Name]; asked && n != s.Value {
			return fmt.Errorf("%s is %d, not %d", s.Name, s.Value, n)
		}
		delete(missing, s.Name)
	}
	for name := range missing {
		return fmt.Errorf("%s is missing", name)
	}
	return nil
}

// readFrame reads one whole frame.
func readFrame(r io.Reader) ([]byte, error) {
	head := make([]byte, protocol.HeaderSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	h := protocol.ParseHeader(head)
	if err := protocol.CheckLength(h.Length); err != nil {
		return nil, err
	}
	frame := append(head, make([]byte, h.BodySize())...)
	_, err := io.ReadFull(r, frame[protocol.HeaderSize:])
	return frame, err
}

// clip shortens what an error message quotes.
func clip(b []byte) []byte { return b[:min(len(b), 64)] }
