package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

func TestCompletion(t *testing.T) {
	s := testServer(t)
	k := startShell(t, s)
	k.run(`mset user:alice 1 user:alfred 2 "with space" 3 ключ 4`, "OK")
	k.send("sna\t\r")
	k.expect("unavailable") // snapshot, without a data folder
	k.expect("kv> ")
	k.send("get user:ali\t\r")
	k.expect("\"1\"\n")
	k.send("get u\tf\t\r") // what both begin with, then one of them
	k.expect("\"2\"\n")
	for _, typed := range []string{"\"wi", "wi", "'with sp", "\"with\\x20"} {
		k.send("get " + typed + "\t\r")
		k.expect("\"3\"\n")
	}
	k.send("get кл\t\r")
	k.expect("\"4\"\n")
	k.send("set x 1 --if-a\t\r")
	k.expect("OK\n")
	k.send("set x 1 --if-absent\r")
	k.expect("conflict")
	k.send("get user:\t\t\t")
	k.expect("user:alfred")
	k.expect("user:alice")
	k.send("\x03\x03")
	k.expect("kv> ")
	k.run("get x", `"1"`)
	k.send("set x --if-ab 1\x1b[D\x1b[D\t\r") // in the midst of the line
	k.expect("conflict")
	k.expect("kv> ")
	k.run(`set x 2`, "OK")
	k.send("rollback x \t\t")
	k.expect("rollback x 1") // what both versions begin with
	k.send("\x03")
	k.expect("kv> ")
	k.send("get x --version \t\t")
	k.expect("get x --version ")
	k.send("\x03")
	k.expect("kv> ")
	k.send("connect " + s.addr[:len(s.addr)-1] + "\t\r")
	k.expect("connected to " + s.addr)
	k.expect("kv> ")
}

// What is no key is never put into the line, and what some of many keys begin with is not taken for what all do.
func TestCompletionOfManyKeys(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	for i := range 300 {
		for _, key := range []string{"many:", "few:"} {
			if key == "few:" && i >= 195 {
				continue
			}
			_, err := c.Set(context.Background(), protocol.Set{Key: fmt.Appendf(nil, "%s%03d", key, i), Value: []byte("v")})
			require.NoError(t, err)
		}
	}
	k := startShell(t, s)
	k.send("get many:\t")
	k.expect(" of more than 200 are shown)\n")
	k.send("x\r")
	k.expect("(nil)\n")
	k.expect("kv> ")
	k.send("get m\t")
	k.expect(" of more than 200 are shown)\n")
	k.send("\x15get few:\t")
	k.expect("few:000")
	k.expect("(189 of 195 are shown)\n")
	k.send("x\r")
	k.expect("(nil)\n")
	assert.NotContains(t, k.all(), "…")
}

func TestCompletionWaitsForNobody(t *testing.T) {
	k, _ := silentShell(t)
	k.send("get a\tb\x15timing on\r") // the server never tells a key
	k.expect("timing on\n")
	k.expect("kv> ")
}

func TestHistory(t *testing.T) {
	s := testServer(t)
	cmd := s.kvc(t)
	file := filepath.Join(cmd.Dir, "kv", "history")
	k := onTTY(t, cmd, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	k.send("\x12\x03") // searching in no history
	k.expect("kv> ")
	k.run("set first 1", "OK")
	k.run("set db-password hunter2", "OK")
	k.run(" set private 1", "OK")
	k.run("auth me hunter2", "")
	k.send("set lines 'a\r")
	k.expect("...> ")
	k.send("b' --ttl 1h\r")
	k.expect("OK\n")
	k.expect("kv> ")
	k.run("get first", `"1"`)
	k.send("exit\r")
	k.exited()
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "set first 1\nset lines \"a\\nb\" --ttl 1h\nget first\nexit\n", string(b))

	require.NoError(t, os.Chmod(file, 0o666)) // as another tool would have left it
	again := exec.Command("kvc")
	again.Env, again.Dir = cmd.Env, cmd.Dir
	k = onTTY(t, again, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	info, err = os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	k.send("\x1b[A\x1b[A\r") // up, up: get first
	k.expect("\"1\"\n")
	k.expect("kv> ")
	k.send("\x12lin")
	k.expect("bck-i-search: lin")
	k.send("\r")
	k.expect("OK\n")
	k.expect("kv> ")
	k.send("\x12lin\x03")
	k.run("get first", `"1"`)
}

func TestHintsAsOneTypes(t *testing.T) {
	s := testServer(t)
	k := startShell(t, s)
	k.send("set ")
	k.expect("KEY VALUE")
	assert.Contains(t, k.all(), "\x1b[90mKEY VALUE")
	k.send("greeting hello\r")
	k.expect("OK\n")
	k.expect("kv> ")
	k.send("get greeting\r")
	k.expect("\"hello\"\n")
	k.expect("kv> ")
	k.send("set g")
	k.expect("reeting hello") // from the history
	k.send("\x1b[C!\r")       // Right takes it
	k.expect("OK\n")
	k.run("get greeting", `"hello!"`)
	k.send("set gr\r") // not taken, it is no part of the line
	k.expect("set needs a value")
	k.expect("kv> ")

	cmd := s.kvc(t)
	cmd.Env = append(cmd.Env, "NO_COLOR=1")
	k = onTTY(t, cmd, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	k.send("set ")
	k.expect("set ")
	k.send("x y\r")
	k.expect("OK\n")
	assert.NotContains(t, k.all(), "KEY")
	assert.NotContains(t, k.all(), "\x1b[90m")
}
