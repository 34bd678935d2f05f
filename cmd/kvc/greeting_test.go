package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// passwordServer serves ann, whose secret is "correct horse", at an address, and says of itself what kvd does.
func passwordServer(t *testing.T, listen string) string {
	accounts := nettest.Accounts(t, "ann", "rw", "correct horse")
	return serve(t, listen, netserver.Config{Accounts: accounts, Name: "kvd 1.2.3", Figures: func() []protocol.Stat {
		return []protocol.Stat{{Name: "sync_policy", Value: 3}, {Name: "read_only", Value: 1}}
	}})
}

func TestTheShellSaysWhereItIs(t *testing.T) {
	local := testServer(t)
	k := startShell(t, local)
	assert.Contains(t, k.all(), "kv: 0 keys")
	k.send("set greeting hello\r")
	k.expect("OK")
	k = startShell(t, local)
	assert.Contains(t, k.all(), "kv: 1 key")
	assert.NotContains(t, k.all(), "1 keys")

	// Beyond loopback the prompt has the address, and the user.
	addr := passwordServer(t, beyondLoopback(t)+":0")
	cmd := (&server{addr: addr}).kvc(t)
	cmd.Env = append(cmd.Env, "KV_USER=ann", "KV_SECRET=correct horse")
	k = onTTY(t, cmd, pty.Winsize{Rows: 24, Cols: 100})
	k.expect("connected to " + addr + " as ann\nkvd 1.2.3: on disk before each answer (sync always), 0 keys, read-only: it takes no writes")
	k.expect("kv ann@" + addr + "> ")
	k.send("begin\r")
	k.expect("kv ann@" + addr + "*> ")
	k.send("foo\r")
	k.expect("kv ann@" + addr + "!> ")
	k.send("abort\r")
	k.expect("kv ann@" + addr + "> ")
	other := testServer(t)
	k.send("connect " + other.addr + "\r")
	k.expect("connected to " + other.addr + "\n")
	k.expect("\nkv> ")
}

// In a cluster the prompt has the server and what it does, and goes along when another one leads.
func TestTheShellSaysWhereInTheClusterItIs(t *testing.T) {
	leader := testServer(t)
	follower, err := startFollower(leader.addr)
	require.NoError(t, err)
	t.Cleanup(func() { follower.Close() })
	at := follower.Addr().String()
	k := onTTY(t, (&server{addr: at}).kvc(t), pty.Winsize{Rows: 24, Cols: 100})
	k.expect("connected to " + at + "\n")
	k.expect("one of 4 servers of a cluster")
	k.expect("kv " + at + " follower> ")
	k.send("set k v\r")
	k.expect("OK\n")
	k.expect("kv " + leader.addr + " leader> ")
	k.send("connect " + leader.addr + "\r")
	k.expect("connected to " + leader.addr + "\n")
	k.expect("\nkv> ")
}

// beyondLoopback is an address of this machine that others could reach. Where there is none, 0.0.0.0 leads here too.
func beyondLoopback(t *testing.T) string {
	all, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	return "0.0.0.0"
}

func TestLogin(t *testing.T) {
	addr := passwordServer(t, "127.0.0.1:0")
	cmd := (&server{addr: addr}).kvc(t)
	k := onTTY(t, cmd, pty.Winsize{Rows: 24, Cols: 80})
	k.expect("login NAME")
	k.expect("kv (not connected)> ")
	k.send("login ann\r")
	k.expect("secret of ann: ")
	k.send("no horse\r")
	k.expect("unauthenticated")
	k.expect("kv (not connected)> ")
	k.send("login\r")
	k.expect("user: ")
	k.send("ben\x7f\x7f\x7f\x15ann\r")
	k.expect("secret of ann: ")
	k.send("wrong\x15correct horsé\x7fe\r")
	k.expect("logged in as ann\n")
	k.expect("kv> ")
	k.run("set a 1", "OK")

	// Ctrl-C and a wrong secret leave all as it was.
	k.send("login ann\r")
	k.expect("secret of ann: ")
	k.send("half a secr\x03")
	k.expect("error: cancelled\n")
	k.expect("kv> ")
	k.send("login bob\r")
	k.expect("secret of bob: ")
	k.send("bob's horse\r")
	k.expect("unauthenticated")
	k.expect("kv> ")
	k.run("get a", `"1"`)
	k.run("login ann correct horse", "error: usage: login [NAME]")
	k.send("\x1b[A\x1b[A\r") // what gave a secret to login is not among the lines before
	k.expect("secret of bob: ")
	k.send("\r")
	k.expect("no secret was given")
	k.expect("kv> ")

	// A lost connection is made again with it, another server is not told it.
	asked, _ := startSilent()
	defer asked.Close()
	k.send("connect " + asked.Addr().String() + "\r")
	k.expect("connected to")
	k.expect("kv> ")
	k.send("connect " + addr + "\r")
	k.expect("login NAME")
	k.expect("kv (not connected)> ")
	k.send("exit\r")
	k.exited()

	for _, secret := range []string{"horse", "secr"} {
		history, err := os.ReadFile(filepath.Join(cmd.Dir, "kv", "history"))
		require.NoError(t, err)
		assert.NotContains(t, string(history), secret)
		assert.NotContains(t, strings.ReplaceAll(k.all(), "login ann correct horse", ""), "horse", "nothing of it is shown")
	}
}
