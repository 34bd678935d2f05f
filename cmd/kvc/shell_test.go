package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol/client"
)

// connect returns a client of s, to look at what the shell did.
func connect(t *testing.T, s *server) *client.Client {
	c, err := client.Dial(context.Background(), s.addr, client.Options{Timeout: patience})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func value(t *testing.T, c *client.Client, key string) string {
	t.Helper()
	v, err := c.Get(context.Background(), []byte(key))
	require.NoError(t, err)
	return string(v.Data)
}

func TestShellShowsWhatCanBePastedBack(t *testing.T) {
	k := startShell(t, testServer(t))
	k.run(`set a "caf\xc3\xa9"`, "OK")
	k.run(`get a`, `"café"`)
	k.run(`set a 'it is "quoted"'`, "OK")
	k.run(`get a`, `"it is \"quoted\""`)
	k.run(`set b "\x00\x1b[31m\n"`, "OK")
	k.run(`get b`, `"\x00\x1b[31m\n"`)
	k.run(`get nobody`, `(nil)`)
	k.run(`mget a b nobody`, "a\t\"it is \\\"quoted\\\"\"\nb\t\"\\x00\\x1b[31m\\n\"\nnobody\t(nil)")
	k.run(`set "two words" 1`, "OK")
	k.run(`scan two`, `"two words"`)
	k.run(`del a b nobody`, "2")
	k.run(`gett a`, `error: unknown command "gett", the nearest is "get" (help lists all)`)
	k.run(`set k -`, `error: - for stdin is not possible here, where commands are read; quote it ("-") where it is meant as it is`)
	k.run(`set k "-x"`, "OK")
	k.run(`get k`, `"-x"`)
	assert.NotContains(t, k.all(), "\x1b[31m\n", "no raw control bytes of a value")
}

func TestShellContinuesAnOpenQuote(t *testing.T) {
	k := startShell(t, testServer(t))
	k.send("set a 'one\r")
	k.expect("...> ")
	k.send("two'\r")
	k.expect("OK")
	k.expect("kv> ")
	k.run("get a", `"one\ntwo"`)
	k.send("set a \"three\r")
	k.expect("...> ")
	k.send("\x03") // Ctrl-C forgets all of it
	k.expect("kv> ")
	k.run("get a", `"one\ntwo"`)
	k.send("set a \"three\r")
	k.expect("...> ")
	k.send("\x04")
	k.expect("a quote was left open: nothing was run")
	k.expect("kv> ")
	k.run("get a", `"one\ntwo"`)
}

func TestExit(t *testing.T) {
	for _, word := range []string{"exit", "quit"} {
		k := startShell(t, testServer(t))
		k.send(word + "\r")
		assert.Zero(t, k.exited())
	}
}

// What stands behind a | is the system's shell's, and gets the bytes that a pipe gets.
func TestPipeIntoAProgram(t *testing.T) {
	s := testServer(t)
	k := startShell(t, s)
	k.run(`set a "x\x00\n\"y"`, "OK")
	k.run(`get a | od -An -tx1 | tr -d ' '`, "78000a2279")
	k.run(`scan | cat`, "a")
	k.run(`get nobody | cat`, "(nil)")
	k.run(`get a | exit 3`, "error: the program behind the | ended with exit status 3")
	k.run(`get | cat`, "error: usage: get KEY")
	k.run(`gett a | echo must not run`, `error: unknown command "gett", the nearest is "get" (help lists all)`)
	assert.NotContains(t, k.all(), "\nmust not run")
	k.run(`| cat`, "error: a command goes before the |")
	k.run(`get a |`, `error: a program goes behind the |, such as less; "|" in quotes is meant as it is`)
	k.run(`set sep "|"`, "OK")
	k.run(`get sep`, `"|"`)
	k.run(`set a|b c|d`, "OK")
	k.run(`get a|b`, `"c|d"`)
	k.run(`set "|" 1`, "OK")
	k.run(`scan | grep -c .`, "4")
	k.run(`scan "|"`, `"|"`)

	// Before it, a transaction is what it always is.
	k.send("begin\r")
	k.expect("kv*> ")
	k.run("set a 2", "OK")
	k.run("get a | cat; echo", "2")
	k.run("commit", "OK")
	k.send("begin\rget | cat\r")
	k.expect("kv!> ")
	k.run("abort", "OK")

	// A program has the terminal and its keys, and Ctrl-C stops it.
	k.send("get a | (read answer < /dev/tty; echo \"answer: $answer\")\r")
	k.expect("answer < /dev/tty")
	k.expect("\n")
	k.send("forty-two\n")
	k.expect("answer: forty-two\n")
	k.expect("kv> ")
	k.send("get a | (echo started; sleep 1000)\r")
	k.expect("\nstarted\n")
	k.send("\x03")
	k.expect("kv> ")
	k.run("get a", `"2"`)
}

func TestItStartsWithoutAServer(t *testing.T) {
	s := testServer(t)
	s.stop()
	k := onTTY(t, s.kvc(t), pty.Winsize{Rows: 24, Cols: 80})
	k.expect("error: connect to")
	k.expect("kv (not connected)> ")
	require.NoError(t, s.restart())
	k.send("set a 1\r")
	k.expect("OK\nkv> ")
}

func TestAHangUpRunsNoHalfLine(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	k := startShell(t, s)
	k.run("set a 1", "OK")
	k.send("del a")
	k.expect("del a")
	require.NoError(t, k.cmd.Process.Signal(syscall.SIGHUP))
	k.exited()
	assert.Equal(t, "1", value(t, c, "a"))
}

func TestSIGTERMRestoresTheTerminal(t *testing.T) {
	s := testServer(t)
	cmd := s.kvc(t)
	sh := exec.Command("sh", "-c", `before=$(stty -g); kvc; test "$before" = "$(stty -g)" && echo restored; read wait`)
	sh.Env, sh.Dir = cmd.Env, cmd.Dir
	k := onTTY(t, sh, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	out, err := exec.Command("pgrep", "-P", fmt.Sprint(sh.Process.Pid), "kvc").Output()
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(out), &pid)
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	k.expect("restored")
}

func TestMovingDataInTheShell(t *testing.T) {
	s := testServer(t)
	cmd := s.kvc(t)
	require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, "records.txt"), []byte("a\t1\nb\t\\x00\n"), 0o600))
	k := onTTY(t, cmd, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	k.send("import records.txt\r")
	k.expect("2 records applied of 2 lines")
	k.expect("kv> ")
	k.run("export b", "b\t\\x00")
	k.run("import -", `error: - for stdin is not possible here, where commands are read; quote it ("-") where it is meant as it is`)
	k.send("backup all\r")
	k.expect("backed up to all")
	k.expect("kv> ")
	k.send("bench --duration 20ms --keys 10\r")
	k.expect("latency: p50")
	k.expect("kv> ")
}
