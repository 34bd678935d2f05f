package repl

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"golang.org/x/term"

	"kv/repl/files"
)

// Run runs kvc, of this version, on this process's standard streams and returns the exit code. After Ctrl-C it does not
// return: once the command has said what came of it, the process ends by the signal, as shells expect it.
func Run(version string, args []string) int {
	signal.Ignore(syscall.SIGPIPE) // a closed pipe is an error of the write, not a silent end
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	var interrupt atomic.Pointer[func()] // set by the shell: Ctrl-C never ends that
	var got os.Signal                    // read after ctx is done
	go func() {
		for got = range signals {
			if f := interrupt.Load(); f == nil || got != syscall.SIGINT {
				break
			} else {
				(*f)()
			}
		}
		signal.Reset(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP) // a second one ends it at once
		stop()
	}()
	env := processEnv(version)
	env.OnInterrupt = func(f func()) { interrupt.Store(&f) }
	code := Main(ctx, env, args)
	if ctx.Err() != nil {
		endBy(got.(syscall.Signal))
	}
	return code
}

func processEnv(version string) Env {
	env := Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTerminal: isTerminal(os.Stdin), OutTerminal: isTerminal(os.Stdout), ErrTerminal: isTerminal(os.Stderr),
		Getenv:  os.Getenv,
		Environ: os.Environ,
		Size:    func() (int, int) { return terminalSize(os.Stdout) },
		Version: version,
	}
	if files.Closed(os.Stdin) {
		env.In = files.ClosedStream("stdin")
	}
	if files.Closed(os.Stdout) {
		env.Out = files.ClosedStream("stdout")
	}
	return env
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// terminalSize is the size of a terminal, or a usual one where it does not tell.
func terminalSize(f *os.File) (columns, rows int) {
	columns, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 {
		columns = 80
	}
	if err != nil || rows <= 0 {
		rows = 24
	}
	return columns, rows
}
