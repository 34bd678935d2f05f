// Command kvd is the kv server. `kvd --help` says how to run it, docs/operations.md how to live with it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"kv/protocol/printable"
	"kv/repl/files"
)

func main() {
	// Whoever reads stdout or stderr may go away; the server stays. Writes then fail, and are seen to.
	signal.Ignore(syscall.SIGPIPE)
	// The first signal asks for an orderly end, a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	messages := newLineQueue(os.Stderr)
	stdout := &checkedOutput{to: os.Stdout}
	if files.Closed(os.Stdout) {
		stdout.to = files.ClosedStream("stdout")
	}
	root := command(messages)
	root.SetOut(stdout)
	root.SetErr(messages)
	err := root.ExecuteContext(ctx)
	if stdout.err != nil {
		err = failed(exitFiles, fmt.Errorf("can't write to stdout: %w", stdout.err))
	}
	if err != nil {
		fmt.Fprintln(messages, "kvd:", printable.Lines(err.Error()+advice(err)))
	}
	messages.flush(lastLines)
	os.Exit(exitCode(err))
}
