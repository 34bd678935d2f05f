package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

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

	// Commands that are no part of the transaction do it no harm.
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
