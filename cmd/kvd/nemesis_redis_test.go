package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"kv/store/linear"
)

// redis is the door of RESP, beside one of kv frames.
type redis struct {
	net.Conn
	keyNames
	in      *bufio.Reader
	timeout time.Duration
	frames  door
}

func dialResp(ctx context.Context, m *member, names keyNames, timeout time.Duration) (door, error) {
	f, err := dialFrames(ctx, m, names, timeout)
	if err != nil {
		return nil, err
	}
	nc, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", m.listen)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	c := &redis{nc, names, bufio.NewReader(nc), timeout, f}
	if m.user != "" {
		if answer, err := c.ask([][]string{{"AUTH", m.user, m.secret}}); err != nil || answer != "OK" {
			return nil, errors.Join(fmt.Errorf("AUTH: %v", answer), err, c.Close())
		}
	}
	return c, nil
}

func (c *redis) Close() error { return errors.Join(c.Conn.Close(), c.frames.Close()) }

func (c *redis) do(ctx context.Context, q linear.Request) (r linear.Response, err error) {
	if len(q.Conditions) > 0 {
		return c.frames.do(ctx, q)
	}
	var commands [][]string
	words := map[linear.Kind]string{linear.MGet: "MGET", linear.MSet: "MSET", linear.Del: "DEL"}
	switch q.Kind {
	case linear.MGet, linear.MSet, linear.Del:
		command := []string{words[q.Kind]}
		for _, s := range q.Steps {
			if command = append(command, c.of(s.Key)); q.Kind == linear.MSet {
				command = append(command, s.Value)
			}
		}
		commands = append(commands, command)
	default:
		if q.Kind == linear.Txn {
			commands = append(commands, []string{"MULTI"})
		}
		for _, s := range q.Steps {
			key := c.of(s.Key)
			switch {
			case s.Kind == linear.Get:
				commands = append(commands, []string{"GET", key})
			case s.Kind == linear.Set && s.TTL != 0:
				commands = append(commands, []string{"SET", key, s.Value, "PX", fmt.Sprint(s.TTL.Milliseconds())})
			case s.Kind == linear.Set:
				commands = append(commands, []string{"SET", key, s.Value})
			case s.Kind == linear.Del:
				commands = append(commands, []string{"DEL", key})
			case s.Kind == linear.Incr:
				commands = append(commands, []string{"INCRBY", key, fmt.Sprint(s.By)})
			}
		}
		if q.Kind == linear.Txn {
			commands = append(commands, []string{"EXEC"})
		}
	}
	answer, err := c.ask(commands)
	if err != nil {
		return r, fmt.Errorf("%w: %w", errBroken, err)
	}
	if refused, ok := answer.(error); ok {
		switch text := refused.Error(); {
		case notApplied(text):
			return r, errElsewhere
		case strings.HasPrefix(text, "READONLY"), strings.HasPrefix(text, "EXECABORT"):
			return r, errElsewhere
		case strings.Contains(text, "not an integer"):
			return linear.Response{Refused: true}, nil
		}
		return r, refused
	}
	return c.response(q, answer)
}

// ask sends commands, and returns the last one's answer.
func (c *redis) ask(commands [][]string) (answer any, err error) {
	var b bytes.Buffer
	for _, command := range commands {
		fmt.Fprintf(&b, "*%d\r\n", len(command))
		for _, word := range command {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	c.SetDeadline(time.Now().Add(c.timeout))
	_, err = c.Write(b.Bytes())
	for range commands {
		if err == nil {
			answer, err = c.read()
		}
	}
	return answer, err
}

// response is what the answer says. It tells no versions.
func (c *redis) response(q linear.Request, answer any) (r linear.Response, err error) {
	all, ok := answer.([]any)
	if !ok || q.Kind == linear.Get {
		all = []any{answer}
	}
	r.Results = make([]linear.Result, len(q.Steps))
	for i, s := range q.Steps {
		one := all[min(i, len(all)-1)]
		n, _ := one.(int64)
		value, found := one.(string)
		switch {
		case s.Kind == linear.Get && found:
			r.Results[i].Found, r.Results[i].Value = true, value
		case s.Kind == linear.Set:
			r.Version = linear.Untold
		case s.Kind == linear.Incr:
			r.Version, r.Results[i].Value = linear.Untold, strconv.FormatInt(n, 10)
		case s.Kind == linear.Del:
			if r.Results[i].Existed = n != 0 && q.Kind == linear.Txn; n != 0 {
				r.Version = linear.Untold
			}
			if q.Kind == linear.Del {
				r.Existed = int(n)
			}
		}
	}
	return r, nil
}

// read reads an answer: nil, a string, a number, an error, or a list of them.
func (c *redis) read() (any, error) {
	line, err := c.in.ReadString('\n')
	if err != nil || len(line) < 3 {
		return nil, errors.Join(err, errBroken)
	}
	kind, rest := line[0], line[1:len(line)-2]
	if kind == '+' {
		return rest, nil
	}
	if kind == '-' {
		return errors.New(rest), nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case err != nil:
		return nil, err
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(c.in, b)
		return string(b[:n]), err
	case kind == '*':
		all := make([]any, n)
		for i := range all {
			if all[i], err = c.read(); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	return nil, fmt.Errorf("an answer that begins with %q", line)
}
