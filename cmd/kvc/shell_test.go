package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
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

func TestCtrlDLeavesAndRestoresTheTerminal(t *testing.T) {
	s := testServer(t)
	cmd := s.kvc(t)
	// A shell around it, so that the terminal is still there to be looked at.
	sh := exec.Command("sh", "-c", `before=$(stty -g); kvc; code=$?; test "$before" = "$(stty -g)" && echo "restored, code $code"; read wait`)
	sh.Env, sh.Dir = cmd.Env, cmd.Dir
	k := onTTY(t, sh, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	k.send("x\x04\x04\x7f") // on a line with text it deletes what is under the cursor
	k.send("\x04")
	k.expect("restored, code 0")
}

func TestExit(t *testing.T) {
	for _, word := range []string{"exit", "quit"} {
		k := startShell(t, testServer(t))
		k.send(word + "\r")
		assert.Zero(t, k.exited())
	}
}

func TestCtrlCClearsTheLine(t *testing.T) {
	s := testServer(t)
	k := startShell(t, s)
	for range 3 {
		k.send("\x03")
		k.expect("^C")
		k.expect("kv> ")
	}
	k.send("set a wrong\x03")
	k.expect("^C")
	k.expect("kv> ")
	k.run("get a", "(nil)")
	require.NoError(t, k.cmd.Process.Signal(os.Interrupt)) // from outside, too, it does not leave
	k.expect("^C")
	k.expect("kv> ")
	k.run("get a", "(nil)")
}

// silentShell starts a shell whose commands are never answered.
func silentShell(t *testing.T) (*tty, *silent) {
	l, err := startSilent()
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	k := startShell(t, &server{addr: l.Addr().String()})
	<-l.asked // for its figures
	return k, l
}

func TestCtrlCCancelsTheCommand(t *testing.T) {
	k, l := silentShell(t)
	k.send("get a\r")
	<-l.asked
	k.send("\x03")
	k.expect("error: cancelled\n")
	k.expect("kv> ")
	k.send("set a 1\r")
	<-l.asked
	k.send("\x03")
	k.expect("error: cancelled: the outcome of the write is unknown\n")
	k.expect("kv> ")
}

func TestKeysDuringACommand(t *testing.T) {
	k, l := silentShell(t)
	k.send("get a\r")
	<-l.asked
	k.send("\x04\x1a\x04exit\r\x03") // Ctrl-D and Ctrl-Z do nothing; Ctrl-C forgets what was typed ahead
	k.expect("error: cancelled\n")
	k.expect("kv> ")
	k.run("timing on", "")
	k.send("\x04")
	assert.Zero(t, k.exited())
}

func TestWhatIsTypedAheadRuns(t *testing.T) {
	k := startShell(t, testServer(t))
	k.send("set a 1\rset b 2\rget a\rget b\r")
	k.expect("\"1\"\n")
	k.expect("\"2\"\n")
}

func TestCtrlZStopsNobody(t *testing.T) {
	k := startShell(t, testServer(t))
	k.send("\x1aget \x1anobody\r")
	k.expect("(nil)")
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", os.Getpid()))
	require.NoError(t, err)
	assert.NotContains(t, string(stat), ") T ")
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

// In a shell with job control Ctrl-Z suspends, and what was typed is there again after fg.
func TestCtrlZSuspends(t *testing.T) {
	cmd := testServer(t).kvc(t)
	bash := exec.Command("bash", "--norc", "--noprofile", "-i")
	bash.Env, bash.Dir = append(cmd.Env, "PS1=ready> ", "HISTFILE="), cmd.Dir
	k := onTTY(t, bash, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("ready> ")
	k.send("kvc\r")
	k.expect("kv> ")
	k.send("set a 1\x1a")
	k.expect("Stopped")
	k.expect("ready> ")
	k.send("fg\r")
	k.expect("kv> set a 1")
	k.send("2\r")
	k.expect("OK\n")
	k.run("get a", `"12"`)
	k.send("exit\r")
	k.expect("ready> ")
}

func TestKeysByWords(t *testing.T) {
	k := startShell(t, testServer(t))
	k.send("set ключ два три\x1b[1;5D\x1b[1;5D\"\x05\"\r") // Ctrl-Left twice, a quote there and at the end
	k.expect("OK\n")
	k.run("get ключ", `"два три"`)
	k.send("set ключ значение другое\x17\r") // Ctrl-W takes one word, of any script
	k.expect("OK\n")
	k.run("get ключ", `"значение"`)
}

func TestCtrlCInASearch(t *testing.T) {
	k := startShell(t, testServer(t))
	k.run("set first 1", "OK")
	k.send("typed\x12fir")
	k.expect("bck-i-search: fir")
	k.send("\x03")
	k.expect("^C")
	k.expect("kv> ")
	k.run("get first", `"1"`)
}

func TestNULIsNoEnd(t *testing.T) {
	k := startShell(t, testServer(t))
	k.send("get\x00 \x00nobody\r")
	k.expect("(nil)")
	k.send("\x00")
	k.run("get nobody", "(nil)")
}

func TestDeleteOnAnEmptyLineStays(t *testing.T) {
	k := startShell(t, testServer(t))
	k.send("\x1b[3~\x1b[3~")
	k.run("get nobody", "(nil)")
	k.send("get nobodyx\x1b[D\x1b[3~\r")
	k.expect("(nil)")
}

func TestInvalidUTF8IsRefused(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	k := startShell(t, s)
	for _, typed := range []string{"set a \"\xff\"\r", "set a \xc3\r", "set a \xe2\x82x\r", "set a \xed\xa0\x80\r", "set a \u009b\r", "set a \uFDD0\r"} {
		k.send(typed)
		k.expect("the line is not valid UTF-8")
		k.expect("kv> ")
	}
	_, err := c.Get(context.Background(), []byte("a"))
	assert.ErrorIs(t, err, protocol.ErrNotFound)
	k.run("set a \uFFFD", "OK") // that one is valid
	assert.Equal(t, "\uFFFD", value(t, c, "a"))
}

func TestAPasteIsDrawnFewTimes(t *testing.T) {
	s := testServer(t)
	k := startShell(t, s)
	long := strings.Repeat("0123456789abcdé漢", 1500)
	before := len(k.all())
	k.send("set long \"" + long + "\"\r")
	k.expect("OK\n")
	assert.Equal(t, long, value(t, connect(t, s), "long"))
	drawn := len(k.all()) - before
	assert.Less(t, drawn, 100*len(long), "drawn anew for each rune it would be some hundred megabytes")
}

func TestPastedLinesRunInTurn(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	k := startShell(t, s)
	k.send("set a 1\nset b \"two\nlines\"\nset c 3\n")
	k.expect("OK\n")
	k.expect("OK\n")
	k.expect("OK\n")
	assert.Equal(t, "two\nlines", value(t, c, "b"))
	// A terminal that marks what is pasted: TAB is a TAB there, and completes nothing.
	k.send("\x1b[200~set\td 'tab\there'\rset e 5\r\x1b[201~")
	k.expect("OK\n")
	k.expect("OK\n")
	assert.Equal(t, "tab\there", value(t, c, "d"))
	k.send("\x1b[200~set f \x03\x04\x1b[31m\x1b[201~\r")
	k.expect("not valid UTF-8")
}

// Whatever goes wrong in a transaction, and however its lines arrive, nothing of it is applied, and nothing that was meant to
// be a part of it runs by itself.
func TestAFailedTransaction(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	k := startShell(t, s)
	const refused = "error: not done, for the transaction has failed"
	for wrong, says := range map[string]string{
		"foo":            "unknown command",
		"get":            "usage: get KEY",
		"get a b":        "usage: get KEY",
		"set a 1 --ttl":  "--ttl needs a value",
		"set a 1 --nope": "unknown option",
		`set a "\q"`:     "is no escape",
		`set a "b"c`:     "a space is missing",
		"set a \xff":     "not valid UTF-8",
		"set a \"\r\x04": "a quote was left open",
		"scan":           "not possible inside a transaction",
		"begin":          "begin is not possible inside a transaction",
		"commit now":     "usage: commit",
		"connect x:1":    "not possible inside a transaction",
		"set a -":        "- for stdin is not possible here",
	} {
		k.send("begin\r")
		k.expect("kv*> ")
		k.run("set a 1", "OK")
		k.send(wrong + "\r")
		k.expect(says)
		k.expect("kv!> ")
		for _, line := range []string{"set a 2", "get a", "begin", "foo", "scan", "snapshot"} {
			k.send(line + "\r")
			k.expect(refused)
			k.expect("kv!> ")
		}
		k.send("help abort\r")
		k.expect("usage: abort")
		k.expect("kv!> ")
		k.send("\r\x03")
		k.expect("^C")
		k.expect("kv!> ")
		if len(says)%2 == 0 {
			k.send("commit\r")
			k.expect("error: the transaction had failed: nothing of it was applied\n")
		} else {
			k.send("ABORT\r")
			k.expect("OK\n")
		}
		k.expect("kv> ")
		_, err := c.Get(context.Background(), []byte("a"))
		require.ErrorIs(t, err, protocol.ErrNotFound, wrong)
	}

	// What is no part of it does it no harm.
	k.send("begin\r")
	k.expect("kv*> ")
	k.run("set a 1", "OK")
	k.run("help nonsense", "")
	k.run("timing perhaps", "")
	k.run("commit", "OK")
	assert.Equal(t, "1", value(t, c, "a"))
	k.send("begin\rfoo\r")
	k.expect("kv!> ")
	k.send("exit\r")
	k.expect("the open transaction was not applied")
	assert.Zero(t, k.exited())
}

func TestAPastedTransactionThatFails(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	k := startShell(t, s)
	var lines strings.Builder
	lines.WriteString("begin\nfoo\n")
	for i := range 200 {
		fmt.Fprintf(&lines, "set key:%d 1\n", i)
	}
	lines.WriteString("commit\n")
	for _, paste := range []string{lines.String(), "\x1b[200~" + lines.String() + "\x1b[201~"} {
		k.send(paste + "get after\n")
		k.expect("kv!> ")
		k.expect("error: the transaction had failed: nothing of it was applied\n")
		k.expect("(nil)\nkv> ")
		page, err := c.Scan(context.Background(), protocol.Scan{Limit: 10})
		require.NoError(t, err)
		assert.Empty(t, page.Items)
	}
}

// Without a server, what stands behind a begin does not run once there is one.
func TestABeginThatFails(t *testing.T) {
	s := testServer(t)
	k := startShell(t, s)
	s.stop()
	k.expect("kv (not connected)> ")
	k.send("begin\r")
	k.expect("error: connect to")
	k.expect("kv!> ")
	require.NoError(t, s.restart())
	k.send("set a 1\r")
	k.expect("not done")
	k.expect("kv!> ")
	k.send("abort\r")
	k.expect("kv (not connected)> ")
	k.run("get a", "(nil)")
}

// Ctrl-C forgets what was typed ahead, which may be a part of the transaction.
func TestCtrlCInATransaction(t *testing.T) {
	k, l := silentShell(t)
	k.send("begin\r")
	k.expect("kv*> ")
	k.send("get a\r")
	<-l.asked
	k.send("\x03")
	k.expect("error: cancelled\n")
	k.expect("kv!> ")
	k.send("commit\r")
	k.expect("had failed")
	k.expect("kv> ")
}

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

func TestTransactions(t *testing.T) {
	s := testServer(t)
	c := connect(t, s)
	k := startShell(t, s)
	k.run("mset from 100 to 0", "OK")
	k.send("begin\r")
	k.expect("kv*> ")
	k.run("get from", `"100"`)
	k.run("set from 90", "OK")
	k.run("get from", `"90"`)
	k.run("mset to 10", "OK")
	assert.Equal(t, "100", value(t, c, "from"), "nothing is written before commit")
	k.send("commit\r")
	k.expect("OK\n")
	k.expect("kv> ")
	assert.Equal(t, "90", value(t, c, "from"))
	assert.Equal(t, "10", value(t, c, "to"))

	k.send("begin\r")
	k.expect("kv*> ")
	k.run("get from", `"90"`)
	k.run("set to 20", "OK")
	_, err := c.Set(context.Background(), protocol.Set{Key: []byte("from"), Value: []byte("0")})
	require.NoError(t, err)
	k.send("commit\r")
	k.expect("error: conflict: the transaction relies on version ")
	k.expect(" of from, which has version ")
	k.expect("nothing was applied\n")
	k.expect("kv> ")
	assert.Equal(t, "10", value(t, c, "to"))

	k.send("begin\r")
	k.expect("kv*> ")
	k.run("set to 30", "OK")
	k.send("scan\r")
	k.expect("scan is not possible inside a transaction")
	k.expect("kv!> ")
	k.send("abort\r")
	k.expect("kv> ")
	k.run("commit", "error: no transaction is open: begin one")
	k.send("begin\rset to 40\rabort\r")
	k.expect("kv*> ")
	k.expect("kv> ")
	k.send("begin\r")
	k.expect("kv*> ")
	k.send("\x04")
	k.expect("the open transaction was not applied")
	assert.Zero(t, k.exited())
	assert.Equal(t, "10", value(t, c, "to"))
}

func TestALostConnection(t *testing.T) {
	s := testServer(t)
	k := startShell(t, s)
	k.run("set a 1", "OK")
	s.stop()
	k.expect("kv (not connected)> ") // without a key being pressed
	k.send("get a\r")
	k.expect("connect to " + s.addr)
	k.expect("kv (not connected)> ")
	require.NoError(t, s.restart())
	k.run("get a", "(nil)")
	k.send("begin\r")
	k.expect("kv*> ")
	require.NoError(t, s.restart())
	k.expect("kv (not connected)> ")
	k.send("set a 2\r")
	k.expect("error: the connection was lost, and the open transaction with it")
	k.expect("error: not done, for the transaction has failed")
	k.expect("kv!> ")
	k.send("get a\r")
	k.expect("error: not done")
	k.expect("kv!> ")
	k.send("commit\r")
	k.expect("error: the transaction had failed")
	k.expect("kv (not connected)> ")
	k.run("get a", "(nil)")

	other := testServer(t)
	k.run("connect "+other.addr, "connected to "+other.addr)
	k.run("set b 1", "OK")
	assert.Equal(t, "1", value(t, connect(t, other), "b"))
	k.send("connect 127.0.0.1:1\r")
	k.expect("error: connect to 127.0.0.1:1")
	k.expect("kv (not connected)> ")
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

func TestAWindowWithoutSize(t *testing.T) {
	k := onTTY(t, testServer(t).kvc(t), pty.Winsize{})
	k.expect("kv> ")
	k.run("set user:alice 1", "OK")
	k.send("get us\t\r")
	k.expect("\"1\"\n")
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

// So is it without the shell, and the terminal is then as it was.
func TestWatch(t *testing.T) {
	for _, key := range []string{"q", "\x03"} {
		cmd := testServer(t).kvc(t)
		sh := exec.Command("sh", "-c", `before=$(stty -g); kvc stats --watch; test "$before" = "$(stty -g)" && echo restored; read wait`)
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
