package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

func TestCtrlDLeavesAndRestoresTheTerminal(t *testing.T) {
	s := testServer(t)
	cmd := s.kvc(t)
	// A shell around it, so that the terminal is still there to be looked at.
	sh := exec.Command("sh", "-c",
		`before=$(stty -g); kvc; code=$?; test "$before" = "$(stty -g)" && echo "restored, code $code"; read wait`)
	sh.Env, sh.Dir = cmd.Env, cmd.Dir
	k := onTTY(t, sh, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("kv> ")
	k.send("x\x04\x04\x7f") // on a line with text it deletes what is under the cursor
	k.send("\x04")
	k.expect("restored, code 0")
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
	for _, typed := range []string{"set a \"\xff\"\r", "set a \xc3\r", "set a \xe2\x82x\r", "set a \xed\xa0\x80\r",
		"set a \u009b\r", "set a \uFDD0\r"} {
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
