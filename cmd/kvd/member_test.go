package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"kv/protocol"
)

// kvcBinary builds kvc.
func kvcBinary(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "kvc")
	out, err := exec.Command("go", "build", "-o", path, "../kvc").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// console runs kvc.
type console struct {
	t    *testing.T
	path string
	addr string
}

// run returns what the command has printed, and its exit code.
func (c console) run(args ...string) (stdout, stderr string, code int) {
	cmd := exec.Command(c.path, append([]string{"--addr", c.addr}, args...)...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	cmd.Run()
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// fails runs a command that has to end with this exit code, and say this.
func (c console) fails(code int, says string, args ...string) {
	c.t.Helper()
	c.begins(code, says, args...)()
}

// begins is fails beside others, since some wait for seconds before they do: what it returns is called for the end.
func (c console) begins(code int, says string, args ...string) (ends func()) {
	var out, err string
	var got int
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		out, err, got = c.run(args...)
	}()
	return func() {
		c.t.Helper()
		<-ended
		require.Equal(c.t, code, got, "%v: %s", args, err)
		require.Contains(c.t, err, says, "%v", args)
		require.Equal(c.t, code == 1 && args[1] == "status", out != "", "%v", args)
	}
}

func (c console) done(args ...string) string {
	c.t.Helper()
	out, err, code := c.run(args...)
	require.Zero(c.t, code, "%v: %s", args, err)
	require.Empty(c.t, err)
	return out
}

// clusterStatus is what is promised of kvc cluster status --json.
type clusterStatus struct {
	Leader  uint64 `json:"leader"`
	Term    uint64 `json:"term"`
	Members []struct {
		ID        uint64 `json:"id"`
		Role      string `json:"role"`
		Client    string `json:"client"`
		Peer      string `json:"peer"`
		Reachable bool   `json:"reachable"`
	} `json:"members"`
}

func (c console) status() (s clusterStatus) {
	c.t.Helper()
	out, err, _ := c.run("cluster", "status", "--json")
	require.NoError(c.t, json.Unmarshal([]byte(out), &s), "%s%s", out, err)
	return s
}

// TestClusterCommands: what kvc cluster shows and does at three real nodes, with good input and bad, with one node lost
// and with two.
func TestClusterCommands(t *testing.T) {
	all := startCluster(t, 3)
	c := console{t, kvcBinary(t), all[0].listen + "," + all[1].listen + "," + all[2].listen}
	c.done("cluster", "wait")
	s := c.status()
	require.NotZero(t, s.Term)
	require.Len(t, s.Members, 3)
	table := fmt.Sprintf("leader %d\nterm %d\n", s.Leader, s.Term)
	ids := map[*member]uint64{}
	for _, m := range s.Members {
		require.Equal(t, "voter", m.Role)
		require.True(t, m.Reachable)
		for _, n := range all {
			if n.peer == m.Peer {
				require.Equal(t, n.listen, m.Client)
				ids[n] = m.ID
			}
		}
	}
	require.Len(t, ids, 3)
	out := c.done("cluster", "status")
	require.Contains(t, out, table)
	for m, id := range ids {
		require.Regexp(t, fmt.Sprintf(`(?m)^%d +voter +reachable +%s +%s$`, id, m.listen, m.peer), out)
	}

	// Wrong input changes nothing.
	leads := leader(t, all)
	next := all[0]
	if next == leads {
		next = all[1]
	}
	nobody := freeAddress(t)
	alone := start(t)
	var ends []func()
	for _, n := range all { // at whichever node
		at := console{t, c.path, n.listen}
		ends = append(ends, at.begins(4, "there is no node that could join at "+alone.addr, "cluster", "add", alone.addr))
		at.fails(1, "node 77 is no member", "cluster", "remove", "77")
		at.fails(1, "node 77 is no member", "cluster", "transfer", "77")
		at.fails(4, "there is no node that could join at "+nobody, "cluster", "add", nobody)
		at.fails(4, "bad request: this node leads: have another lead first", "cluster", "remove", fmt.Sprint(ids[leads]))
	}
	for _, end := range ends {
		end()
	}
	for _, args := range [][]string{{"add"}, {"remove"}, {"transfer"}, {"remove", "x"}, {"remove", "0"},
		{"transfer", "-1"}, {"add", "7071"}, {"wait", "now"}, {"status", "all"}, {"dance"}} {
		c.fails(2, "", append([]string{"cluster"}, args...)...)
	}
	require.Equal(t, s, c.status())

	// One that is alone is no cluster.
	out = console{t, c.path, alone.addr}.done("cluster", "status")
	require.Equal(t, "alone: the server is in no cluster\n", out)
	console{t, c.path, alone.addr}.done("cluster", "wait")
	for _, args := range [][]string{{"add", nobody}, {"remove", "1"}, {"transfer", "1"}} {
		console{t, c.path, alone.addr}.fails(4, "this server is alone, in no cluster", append([]string{"cluster"}, args...)...)
	}
	alone.stop(syscall.SIGTERM)

	// Twice is once.
	c.done("cluster", "transfer", fmt.Sprint(ids[next]))
	c.done("cluster", "transfer", fmt.Sprint(ids[next]))
	require.Equal(t, ids[next], c.status().Leader)
	c.done("cluster", "add", leads.peer)
	c.done("cluster", "remove", fmt.Sprint(ids[leads]))
	require.Eventually(t, func() bool { return len(c.status().Members) == 2 }, 20*time.Second, 20*time.Millisecond)
	next.voters(2)
	c2 := console{t, c.path, next.listen}
	c2.fails(1, fmt.Sprintf("node %d is no member", ids[leads]), "cluster", "remove", fmt.Sprint(ids[leads]))
	c2.fails(4, "was removed from this cluster: stop it, remove its folder", "cluster", "add", leads.peer)
	require.Eventually(t, func() bool { // it is told
		_, err, code := console{t, c.path, leads.listen}.run("cluster", "status")
		return code == 1 && bytes.Contains([]byte(err), []byte("is no member any more: stop it, and ask another"))
	}, 20*time.Second, 20*time.Millisecond)

	// Of two each one hangs on the other; the last voter can't go.
	other := all[0]
	for _, m := range all {
		if m != next && m != leads {
			other = m
		}
	}
	other.signal(syscall.SIGKILL)
	require.Eventually(t, func() bool {
		_, err, code := c2.run("cluster", "status")
		return code == 1 && bytes.Contains([]byte(err), []byte("no server leads"))
	}, 20*time.Second, 20*time.Millisecond)
	for _, end := range []func(){
		c2.begins(4, "", "cluster", "remove", fmt.Sprint(ids[other])),
		c2.begins(4, "", "cluster", "add", leads.peer),
		c2.begins(1, "it did not get well", "cluster", "wait", "--timeout", "300ms"),
		c2.begins(4, "", "set", "a", "1"),
		c2.begins(4, "no leader, or no majority, could be asked in time", "get", "a"),
	} {
		end()
	}
	other.start()
	c2.done("cluster", "wait", "--timeout", "30s")
	leader(t, []*member{next, other})
	c.addr = other.listen + "," + next.listen
	follower := ids[other]
	if c.status().Leader == follower {
		follower = ids[next]
	}
	c.done("cluster", "remove", fmt.Sprint(follower))
	require.Eventually(t, func() bool { return len(c.status().Members) == 1 }, 20*time.Second, 20*time.Millisecond)
	last := c.status().Leader
	for _, m := range []*member{next, other} {
		if ids[m] == last {
			console{t, c.path, m.listen}.fails(4, "have another lead first", "cluster", "remove", fmt.Sprint(last))
			console{t, c.path, m.listen}.done("cluster", "transfer", fmt.Sprint(last))
		}
	}
}

// TestClusterScripts runs the stories in testdata/cluster, beside three nodes that are a cluster (LEADS, OTHER), one
// that is alone in its own (SINGLE), one that waits for its peers (WAITS), and a server that is in none (ALONE); at
// NOBODY nobody listens.
func TestClusterScripts(t *testing.T) {
	all := startCluster(t, 3)
	leads := leader(t, all)
	other := all[0]
	if other == leads {
		other = all[1]
	}
	single := startCluster(t, 1)[0]
	waits := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t)}
	nobody := freeAddress(t)
	waits.peers = waits.peer + "," + nobody
	waits.start()
	number := func(m *member) string {
		s, err := m.status()
		require.NoError(t, err)
		return fmt.Sprint(s.Node)
	}
	vars := map[string]string{
		"LEADS": leads.listen, "LEADER_ID": number(leads), "LEADER_PEER": leads.peer, "OTHER": other.listen, "OTHER_PEER": other.peer,
		"SINGLE": single.listen, "SINGLE_ID": number(single), "SINGLE_PEER": single.peer,
		"WAITS": waits.listen, "ALONE": start(t).addr, "NOBODY": nobody,
		"PATH": filepath.Dir(kvcBinary(t)) + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/cluster",
		Setup: func(env *testscript.Env) error {
			for name, value := range vars {
				env.Setenv(name, value)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": func(ts *testscript.TestScript, _ bool, args []string) { // code N COMMAND: it ends with N
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				var exit *exec.ExitError
				if err := ts.Exec(args[1], args[2:]...); !errors.As(err, &exit) || exit.ExitCode() != want {
					ts.Fatalf("%v, want exit code %d", err, want)
				}
			},
		},
	})
}

// TestWaitFromTheStart: who waits for a cluster may begin before its first node listens.
func TestWaitFromTheStart(t *testing.T) {
	all := founders(t, 3, func(*member) {})
	var addrs []string
	for _, m := range all {
		addrs = append(addrs, m.listen)
	}
	first, err := net.Listen("tcp", addrs[0])
	require.NoError(t, err)
	wait := exec.Command(kvcBinary(t), "--addr", strings.Join(addrs, ","), "cluster", "wait", "--timeout", "1m")
	var says strings.Builder
	wait.Stderr = &says
	require.NoError(t, wait.Start())
	conn, err := first.Accept() // it has begun, and in vain
	require.NoError(t, err)
	require.NoError(t, first.Close())
	require.NoError(t, conn.Close())
	for _, m := range all {
		m.start()
	}
	require.NoError(t, wait.Wait(), "%s", &says)
	for _, m := range all {
		s, err := m.status()
		require.NoError(t, err)
		require.NotZero(t, s.Leader)
	}
}

// TestAClusterThatIsNotFounded: a node that waits for its peers says so to clients, and not that it is alone.
func TestAClusterThatIsNotFounded(t *testing.T) {
	m := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t)}
	m.peers = m.peer + "," + freeAddress(t)
	m.start()
	c := console{t, kvcBinary(t), m.listen}
	c.fails(1, "the server waits to found a cluster, or to join one", "cluster", "status")
	c.fails(1, "the server waits to found a cluster", "cluster", "wait", "--timeout", "300ms")
	require.Empty(t, c.status().Members)
	for _, args := range [][]string{{"add", m.peer}, {"remove", "1"}, {"transfer", "1"}} {
		c.fails(4, "belongs to no cluster yet", append([]string{"cluster"}, args...)...)
	}
	c.fails(4, "no node leads now", "set", "a", "1")
	c.fails(4, "no leader", "get", "a")
}

// TestNodesChangePlaces: nodes that were started on each other's folders find each other, and so do all of a cluster
// that moves as a whole.
func TestNodesChangePlaces(t *testing.T) {
	for name, move := range map[string]func(t *testing.T, all []*member){
		"two swap": func(_ *testing.T, all []*member) {
			all[0].dir, all[1].dir = all[1].dir, all[0].dir
		},
		"all go round": func(_ *testing.T, all []*member) {
			all[0].dir, all[1].dir, all[2].dir = all[1].dir, all[2].dir, all[0].dir
		},
		"two move": func(t *testing.T, all []*member) {
			for _, m := range all[:2] {
				m.listen, m.peer = freeAddress(t), freeAddress(t)
			}
		},
		"all move": func(t *testing.T, all []*member) {
			var peers []string
			for _, m := range all {
				m.listen, m.peer = freeAddress(t), freeAddress(t)
				peers = append(peers, m.peer)
			}
			for _, m := range all {
				m.peers = strings.Join(peers, ",")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			all := startCluster(t, 3)
			written(t, all, "before", name)
			for _, m := range all {
				m.signal(syscall.SIGTERM)
			}
			move(t, all)
			for _, m := range all {
				m.start()
			}
			leader(t, all)
			written(t, all, "after", name)
			for _, m := range all { // each knows the way to who leads
				require.Equal(t, name, m.get("before"))
				require.Eventually(t, func() bool { return m.set("through each", name) == nil }, 60*time.Second, 20*time.Millisecond)
			}
			require.Eventually(t, func() bool { // all know where all are
				at, views := map[uint64]*member{}, []protocol.ClusterResponse{}
				for _, m := range all {
					s, err := m.status()
					if err != nil || len(s.Members) != 3 {
						return false
					}
					at[s.Node], views = m, append(views, s)
				}
				for _, s := range views {
					for _, x := range s.Members {
						if m := at[x.ID]; m == nil || !x.Reachable || m.listen != x.Client || m.peer != x.Peer {
							return false
						}
					}
				}
				return true
			}, 60*time.Second, 20*time.Millisecond)
		})
	}
}

// TestAddANodeThatKnowsNobody: a node that waits for others joins the cluster that it is added to.
func TestAddANodeThatKnowsNobody(t *testing.T) {
	all := startCluster(t, 1)
	written(t, all, "a", "1")
	m := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t)}
	m.peers = m.peer + "," + freeAddress(t)
	m.start()
	c := console{t, kvcBinary(t), all[0].listen}
	c.done("cluster", "add", m.peer)
	c.done("cluster", "wait", "--timeout", "1m")
	all[0].voters(2)
	require.Equal(t, "1", m.get("a"))
	m.signal(syscall.SIGKILL) // and is a member when it comes back
	m.start()
	c.done("cluster", "wait", "--timeout", "1m")
	require.Equal(t, "1", m.get("a"))
}

// TestANodeMoves: a node that comes back at other addresses is the same node, whether it led or not.
func TestANodeMoves(t *testing.T) {
	all := startCluster(t, 3)
	for range 2 { // the leader goes first
		m := leader(t, all)
		before, err := m.status()
		require.NoError(t, err)
		m.signal(syscall.SIGTERM)
		m.listen, m.peer = freeAddress(t), freeAddress(t)
		m.start()
		for _, at := range all {
			require.Eventually(t, func() bool {
				s, err := at.status()
				if err != nil {
					return false
				}
				for _, x := range s.Members {
					if x.ID == before.Node && x.Client == m.listen && x.Peer == m.peer && x.Reachable {
						return len(s.Members) == 3
					}
				}
				return false
			}, 60*time.Second, 20*time.Millisecond)
		}
		written(t, all, "a", m.listen)
		require.Equal(t, m.listen, m.get("a"))
	}
}
