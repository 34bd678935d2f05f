package repl

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"

	"kv/repl/words"
)

// piped returns where on a line a word | stands by itself, and what follows it is for the system's shell; ok: there is one.
// In quotes, or inside a word, it is a character like any other.
func piped(ws []words.Word) (at int, ok bool) {
	for i, w := range ws {
		if w.Text == "|" && !w.Quoted {
			return i, true
		}
	}
	return 0, false
}

// runPiped runs the command before the | at ws[at] of a line, and gives what kvc would print into a pipe to what follows.
func (sh *shell) runPiped(ctx context.Context, line string, ws []words.Word, at int) error {
	rest := strings.TrimSpace(line[ws[at].Start+1:])
	switch {
	case at == 0:
		return usagef("a command goes before the |")
	case rest == "":
		return usagef("a program goes behind the |, such as less; \"|\" in quotes is meant as it is")
	}
	s := sh.session
	env, out, stdout, mode := s.env, s.out, s.stdout, s.mode
	child := &child{start: func() (io.WriteCloser, func() error, error) { return startChild(rest, env) }}
	back := sh.t.Lend()
	defer back()
	s.env.Out, s.env.OutTerminal, s.mode, s.intoPipe = child, false, script, true
	s.openOutput()
	err := s.timed(ctx, ws[:at])
	s.env, s.out, s.stdout, s.mode, s.intoPipe = env, out, stdout, mode, false
	if end := child.end(err == nil); err == nil || silent(err) {
		err = end
	}
	return err
}

// startChild starts a program of the system's shell on the terminal; its stdin is what is returned.
func startChild(command string, env Env) (io.WriteCloser, func() error, error) {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = env.Out, env.Err
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	return in, cmd.Wait, cmd.Start()
}

// child is a program that is started once there is output for it to read.
type child struct {
	start func() (in io.WriteCloser, wait func() error, err error)
	in    io.WriteCloser // nil: it was not started yet
	wait  func() error
}

func (c *child) Write(b []byte) (int, error) {
	if c.in == nil {
		var err error
		if c.in, c.wait, err = c.start(); err != nil {
			return 0, err
		}
	}
	return c.in.Write(b)
}

// end waits for the end of the program, after what is all there is for it. If nothing was, it is started if the command
// before it was done.
func (c *child) end(done bool) error {
	if c.in == nil {
		if !done {
			return nil
		}
		if _, err := c.Write(nil); err != nil {
			return fileError{err}
		}
	}
	c.in.Close()
	err := c.wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return fileError{errors.New("the program behind the | ended with " + exit.String())}
	}
	return err
}
