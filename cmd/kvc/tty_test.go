package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// tty is a kvc that runs on a terminal of its own.
type tty struct {
	t    *testing.T
	cmd  *exec.Cmd
	pty  *os.File
	done chan error // what Wait returned

	mu   sync.Mutex // guards what follows
	more sync.Cond  // signalled when there is more in seen
	seen []byte     // all that it wrote
	at   int        // where the next expect looks from
}

const patience = 20 * time.Second

// onTTY starts cmd on a terminal.
func onTTY(t *testing.T, cmd *exec.Cmd, size pty.Winsize) *tty {
	t.Helper()
	f, err := pty.StartWithSize(cmd, &size)
	require.NoError(t, err)
	k := &tty{t: t, cmd: cmd, pty: f, done: make(chan error, 1)}
	k.more.L = &k.mu
	read := make(chan struct{})
	go func() {
		defer close(read)
		buf := make([]byte, 64<<10)
		for {
			n, err := f.Read(buf)
			k.mu.Lock()
			k.seen = append(k.seen, buf[:n]...)
			k.more.Broadcast()
			k.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() { k.done <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		f.Close()
		<-read
	})
	return k
}

// startShell starts the shell, talking to s, and waits for its prompt.
func startShell(t *testing.T, s *server, args ...string) *tty {
	t.Helper()
	k := onTTY(t, s.kvc(t, args...), pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	return k
}

// send types keys.
func (k *tty) send(keys string) {
	k.t.Helper()
	_, err := k.pty.WriteString(keys)
	require.NoError(k.t, err)
}

// run types a line and waits for its answer and the prompt.
func (k *tty) run(line, want string) {
	k.t.Helper()
	k.send(line + "\r")
	k.expect("\n")
	if want != "" {
		k.expect(want + "\n")
	}
	k.expect("> ")
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|\r|\x07`)

// expect waits until the text is on the screen, after what was expected before; without control sequences.
func (k *tty) expect(text string) {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	late := false
	timer := time.AfterFunc(patience, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		late = true
		k.more.Broadcast()
	})
	defer timer.Stop()
	for {
		all := escapes.ReplaceAllString(string(k.seen), "")
		rest := all[min(k.at, len(all)):]
		if i := strings.Index(rest, text); i >= 0 {
			k.at += i + len(text)
			return
		}
		require.False(k.t, late, "%q was not shown, but %q", text, rest)
		k.more.Wait()
	}
}

// all is all that was shown so far, control sequences included.
func (k *tty) all() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return string(k.seen)
}

// exited waits for the end and returns the exit code.
func (k *tty) exited() int {
	k.t.Helper()
	select {
	case <-k.done:
	case <-time.After(patience):
		require.Fail(k.t, "it does not end", "%q", k.all())
	}
	code := k.cmd.ProcessState.ExitCode()
	require.NotEqual(k.t, raceExit, code, "the race detector has found something: %s", k.all())
	return code
}

// raceExit is the exit code of a program in which the race detector has found something.
const raceExit = 66
