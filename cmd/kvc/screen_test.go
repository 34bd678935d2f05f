package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

func TestWideRunes(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	k := startShell(t, s)
	k.send("set a 漢😀x")
	k.send("\x1b[D\x1b[D\x7f\r") // left over x and 😀, backspace over 漢
	k.expect("OK\n")
	assert.Equal(t, "😀x", value(t, c, "a"))
	k.send("set a x😀漢")
	k.send("\x01\x06\x06\x06\x06\x06\x06\x06\x1b[3~y\r") // to the start, right over "set a x", delete 😀
	k.expect("OK\n")
	assert.Equal(t, "xy漢", value(t, c, "a"))
	k.send("\x1b[A\x7f\r") // from the history
	k.expect("OK\n")
	assert.Equal(t, "xy", value(t, c, "a"))
}

func TestAWindowWithoutSize(t *testing.T) {
	k := onTTY(t, testServer(t).kvc(t), pty.Winsize{})
	k.expect("kv> ")
	k.run("set user:alice 1", "OK")
	k.send("get us\t\r")
	k.expect("\"1\"\n")
}

func TestLongValuesAreShortened(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	long := strings.Repeat("x", 100_000)
	_, err := c.Set(context.Background(), protocol.Set{Key: []byte("long"), Value: []byte(long)})
	require.NoError(t, err)
	k := startShell(t, s)
	k.send("get long\r")
	k.expect(`"… (97.7 KiB in all; get --raw shows them)`)
	k.expect("kv> ")
	assert.Less(t, len(k.all()), 5000)
	k.send("get long --raw\r")
	k.expect(long)
}

func TestTiming(t *testing.T) {
	k := startShell(t, testServer(t))
	k.run("timing on", "")
	k.send("get nobody\r")
	k.expect("(nil)\n(")
	k.expect(" ms)\n")
	k.run("timing maybe", "error: timing is on or off")
}

func TestWatchInTheShell(t *testing.T) {
	k := startShell(t, testServer(t))
	k.send("stats --watch --interval 1ms\r")
	k.expect("Ctrl-C ends it")
	k.expect("keys ")
	k.expect("Ctrl-C ends it")
	k.send("\x03")
	k.expect("kv> ")
	k.run("get nobody", "(nil)")
	k.send("stats --watch --interval 1h\r")
	k.expect("Ctrl-C ends it")
	k.expect("round_trip")
	require.NoError(t, pty.Setsize(k.pty, &pty.Winsize{Rows: 5, Cols: 40})) // it is drawn anew, in what room there is
	k.expect("Ctrl-C ends it")
	k.expect("more: stats prints all")
	k.send("xq")
	k.expect("kv> ")
	k.run("get nobody", "(nil)")
}

// TestWatch: stats --watch can be ended by q and Ctrl-C without the shell, too, and leaves the terminal as it was.
func TestWatch(t *testing.T) {
	for _, key := range []string{"q", "\x03"} {
		cmd := testServer(t).kvc(t)
		sh := exec.Command("sh", "-c",
			`before=$(stty -g); kvc stats --watch; test "$before" = "$(stty -g)" && echo restored; read wait`)
		sh.Env, sh.Dir = cmd.Env, cmd.Dir
		k := onTTY(t, sh, pty.Winsize{Rows: 24, Cols: 80})
		k.expect("Ctrl-C ends it")
		k.send(key)
		k.expect("restored")
	}
	cmd := testServer(t).kvc(t, "stats", "--watch", "--count", "2", "--interval", "1ms")
	cmd.Env = append(cmd.Env, "TERM=dumb")
	k := onTTY(t, cmd, pty.Winsize{Rows: 24, Cols: 80})
	assert.Zero(t, k.exited())
	k.expect(" keys=0 ")
	k.expect(" keys=0 ")
	assert.NotContains(t, k.all(), "\x1b")
}

func TestColour(t *testing.T) {
	s := testServer(t)
	k := startShell(t, s)
	k.run("nonsense", "")
	assert.Contains(t, k.all(), "\x1b[31merror: \x1b[0m")
	cmd := s.kvc(t)
	cmd.Env = append(cmd.Env, "NO_COLOR=1")
	k = onTTY(t, cmd, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	k.run("nonsense", "")
	assert.NotContains(t, k.all(), "\x1b[31m")
}

// Where the user has named a pager, what is longer than the screen goes through it, and nothing else.
func TestPager(t *testing.T) {
	s := testServer(t)
	cmd := s.kvc(t)
	cmd.Env = append(cmd.Env, "PAGER=sed 's/^/paged: /'; read key < /dev/tty; echo pager got $key")
	k := onTTY(t, cmd, pty.Winsize{Rows: 10, Cols: 80})
	k.expect("kv> ")
	for i := range 20 {
		k.run(fmt.Sprintf("set key:%02d 1", i), "OK")
	}
	k.run("get key:01", `"1"`)
	k.run("scan key:0 --limit 1", "")
	assert.NotContains(t, k.all(), "paged: key")
	k.send("scan key:\r")
	k.expect("paged: key:")
	k.send("x\n")
	k.expect("pager got x\n")
	k.expect("kv> ")
	k.run("get key:01", `"1"`)
}

func TestADumbTerminal(t *testing.T) {
	s := testServer(t)
	cmd := s.kvc(t)
	cmd.Env = append(cmd.Env, "TERM=dumb")
	k := onTTY(t, cmd, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	k.run("set a 'é漢😀'", "OK")
	k.run("get a", `"é漢😀"`)
	k.run("nonsense", "")
	k.send("begin\nfoo\n")
	k.expect("kv!> ")
	k.send("abort\n")
	k.expect("kv> ")
	k.send("set a \"x\n")
	k.expect("...> ")
	k.send("\x03")
	k.expect("kv> ")
	k.send("set a \xff\n")
	k.expect("not valid UTF-8")
	k.expect("kv> ")
	k.send("half\x03")
	k.expect("kv> ")
	k.send("login ann\n")
	k.expect("secret of ann: ")
	k.send("hunter2\n")
	k.expect("kv> ")
	k.run("get a | cat; echo", "é漢😀")
	k.send("import -h\n")
	k.expect("usage: import")
	k.expect("kv> ")
	k.send("\x04")
	assert.Zero(t, k.exited())
	assert.NotContains(t, k.all(), "\x1b")
	assert.NotContains(t, k.all(), "hunter2")
}

func TestOneCommandOnATerminal(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	for key, v := range map[string]string{"plain": "hello, wörld", "control": "a\x1b[31m\nb", "binary": "\xff\x00"} {
		_, err := c.Set(context.Background(), protocol.Set{Key: []byte(key), Value: []byte(v)})
		require.NoError(t, err)
	}
	for _, tt := range []struct{ args, want string }{
		{"get plain", "hello, wörld\r\n"},
		{"get control", `"a\x1b[31m\nb"` + "\r\n"},
		{"get binary", `"\xff\x00"` + "\r\n"},
		{"get control --raw", "a\x1b[31m\r\nb\r\n"},
		{"mget plain binary nobody", "plain\t\"hello, wörld\"\r\nbinary\t\"\\xff\\x00\"\r\nnobody\t(nil)\r\n"},
		{"scan pl", "plain\r\n"},
	} {
		k := onTTY(t, s.kvc(t, strings.Fields(tt.args)...), pty.Winsize{Rows: 24, Cols: 80})
		assert.Zero(t, k.exited(), tt.args)
		require.Eventually(t, func() bool { return len(k.all()) >= len(tt.want) }, patience, time.Millisecond)
		assert.Equal(t, tt.want, k.all(), tt.args)
	}
}
