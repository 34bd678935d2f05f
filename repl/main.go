// Package repl is kvc: its commands, as one table that the command line, the shell, completion, help and the reference
// pages share, and the ways in which they come in: as arguments, from a pipe, at a prompt.
package repl

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"kv/repl/words"
)

// Main runs kvc with the arguments after its name, and returns its exit code. It says on env.Err what went wrong.
func Main(ctx context.Context, env Env, args []string) int {
	s := newSession(env)
	defer s.close()
	err := s.main(ctx, args)
	s.complain(err)
	return exitCode(err)
}

func (s *session) main(ctx context.Context, args []string) error {
	f := newFlags()
	f.SetInterspersed(false)
	s.opts.bind(f)
	if err := s.opts.fromEnv(f, s.env.Getenv); err != nil {
		return err
	}
	if len(args) == 0 || args[0] != completeRequest && args[0] != completeBashRequest {
		s.unknownVariables(f)
	}
	keepGoing, version := false, false
	f.bool(&keepGoing, "keep-going", "", "with commands from a pipe: go on after one that fails")
	f.bool(&version, "version", "", "print the version")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return s.output(s.printOverview())
		}
		return misplaced(flagError(err), err)
	}
	s.opts.given(f)
	if version {
		fmt.Fprintf(s.out, "kvc %s\n", s.env.Version)
		return s.output(nil)
	}
	if f.NArg() > 0 {
		if keepGoing {
			return usagef("--keep-going is for commands from a pipe, and an option of import")
		}
		return s.oneShot(ctx, f.Args())
	}
	if s.env.InTerminal && s.env.OutTerminal {
		return s.shell(ctx)
	}
	return s.runScript(ctx, keepGoing)
}

// oneShot runs the command that args are.
func (s *session) oneShot(ctx context.Context, args []string) error {
	switch {
	case args[0] == completeRequest:
		return s.output(s.complete(ctx, args[1:]))
	case args[0] == completeBashRequest && len(args) == 3:
		return s.output(s.completeBash(ctx, args[1], args[2]))
	}
	ws := make([]words.Word, len(args))
	for i, a := range args {
		ws[i] = words.Word{Text: a}
	}
	return s.run(ctx, ws)
}
