package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// member is a node of a cluster on this machine.
type member struct {
	t                  *testing.T
	dir, listen, peers string
	peer               string
	command            []string  // what runs it; none: kvd
	args               []string  // besides those of start
	web                string    // where it serves HTTP, if args say so
	user, secret       string    // who clients are; empty: nobody asks
	out                io.Writer // where its log goes besides; nil: nowhere

	mu  sync.Mutex
	p   *process         // nil: it is not running
	log []map[string]any // since it listened
}

// startCluster starts n founders, and waits until one leads.
func startCluster(t *testing.T, n int, args ...string) []*member {
	return startClusterOf(t, n, func(*member) {}, args...)
}

// startClusterOf is startCluster with founders of which each is made ready before it is started.
func startClusterOf(t *testing.T, n int, ready func(*member), args ...string) []*member {
	all := founders(t, n, ready)
	for _, m := range all {
		m.start(args...)
	}
	leader(t, all)
	return all
}

// founders are nodes that would found a cluster, made ready and not yet started.
func founders(t *testing.T, n int, ready func(*member)) (all []*member) {
	var peers []string
	for range n {
		m := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t)}
		ready(m)
		peers = append(peers, m.peer)
		all = append(all, m)
	}
	for _, m := range all {
		m.peers = strings.Join(peers, ",")
	}
	return all
}

// start starts the node, on what its folder has.
func (m *member) start(args ...string) {
	command := m.command
	if len(command) == 0 {
		command = []string{"kvd"}
	}
	args = slices.Concat(command[1:], []string{"--listen", m.listen, "--data", m.dir, "--sync", "always",
		"--peer-listen", m.peer, "--peers", m.peers}, m.args, args)
	p := launch(m.t, exec.Command(command[0], args...))
	go func() {
		for line := range p.lines {
			m.mu.Lock()
			if m.log = append(m.log, line); m.out != nil {
				fmt.Fprintln(m.out, line)
			}
			m.mu.Unlock()
		}
	}()
	m.mu.Lock()
	m.p = p
	m.mu.Unlock()
}

// signal sends the process a signal, and waits for its end if that is one.
func (m *member) signal(s syscall.Signal) {
	require.NoError(m.t, m.p.cmd.Process.Signal(s))
	if s == syscall.SIGKILL || s == syscall.SIGTERM {
		m.p.cmd.Wait()
		m.mu.Lock()
		m.p = nil
		m.mu.Unlock()
	}
}

func (m *member) running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.p != nil
}

// pid is 0 if the node is not running.
func (m *member) pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p == nil {
		return 0
	}
	return m.p.cmd.Process.Pid
}

func (m *member) dial(timeout time.Duration) (*client.Client, error) {
	return client.Dial(m.t.Context(), m.listen, m.options(timeout))
}

func (m *member) options(timeout time.Duration) client.Options {
	return client.Options{User: m.user, Secret: m.secret, Timeout: timeout}
}

// status asks the node how the cluster is.
func (m *member) status() (protocol.ClusterResponse, error) {
	c, err := m.dial(2 * time.Second)
	if err != nil {
		return protocol.ClusterResponse{}, err
	}
	defer c.Close()
	return c.Cluster(m.t.Context())
}

// leader waits until one of the nodes leads, as all that run know.
func leader(t *testing.T, all []*member) (leads *member) {
	require.Eventually(t, func() bool {
		leads = nil
		led := uint64(0)
		for _, m := range all {
			if !m.running() {
				continue
			}
			s, err := m.status()
			if err != nil || s.Leader == 0 || led != 0 && led != s.Leader {
				return false
			}
			if led = s.Leader; s.Node == led {
				leads = m
			}
		}
		return leads != nil
	}, 60*time.Second, 20*time.Millisecond)
	return leads
}

// set writes a key, beginning at this node, until the write is done there or elsewhere, or its outcome is unknown.
func (m *member) set(key, value string) error {
	c, err := m.dial(20 * time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Set(m.t.Context(), protocol.Set{Key: []byte(key), Value: []byte(value)})
	return err
}

func (m *member) get(key string) string {
	c, err := m.dial(20 * time.Second)
	require.NoError(m.t, err)
	defer c.Close()
	v, err := c.Get(m.t.Context(), []byte(key))
	require.NoError(m.t, err)
	return string(v.Data)
}

// written retries a write while no node takes it.
func written(t *testing.T, all []*member, key, value string) {
	require.Eventually(t, func() bool { return leader(t, all).set(key, value) == nil }, 60*time.Second, 20*time.Millisecond)
}

func TestThreeNodesAreOneStore(t *testing.T) {
	all := startCluster(t, 3)
	written(t, all, "a", "1")
	leads := leader(t, all)
	for _, m := range all {
		require.Equal(t, "1", m.get("a"))
		s, err := m.status()
		require.NoError(t, err)
		require.Len(t, s.Members, 3)
		if m != leads {
			c, err := client.Dial(t.Context(), m.listen, client.Options{Timeout: 20 * time.Second})
			require.NoError(t, err)
			_, _, err = c.Start(t.Context(), func(dst []byte, id uint32) []byte {
				return protocol.Set{Key: []byte("a"), Value: []byte("2")}.AppendTo(dst, id)
			}).Wait(t.Context())
			var said *protocol.Error
			require.ErrorAs(t, err, &said)
			require.Equal(t, protocol.StatusMoved, said.Status)
			require.Equal(t, leads.listen, said.Message)
			_, err = c.Set(t.Context(), protocol.Set{Key: []byte("a"), Value: []byte("1")})
			require.NoError(t, err, "a client goes there by itself")
			snapshot, err := c.Snapshot(t.Context())
			require.NoError(t, err)
			require.Positive(t, snapshot.Bytes)
			require.NoError(t, c.Close())
		}
	}

	leads.signal(syscall.SIGKILL)
	written(t, all, "b", "2")
	for _, m := range all {
		if m.running() {
			require.Equal(t, "1", m.get("a"))
			require.Equal(t, "2", m.get("b"))
		}
	}
	leads.start()
	leader(t, all)
	require.Equal(t, "2", leads.get("b"))

	// A node that has lost its disk comes back as another node, in the place of the lost one.
	before, err := leads.status()
	require.NoError(t, err)
	leads.signal(syscall.SIGKILL)
	require.NoError(t, os.RemoveAll(leads.dir))
	leads.start()
	require.Eventually(t, func() bool {
		s, err := leads.status()
		if err != nil || s.Leader == 0 || len(s.Members) != 3 {
			return false
		}
		for _, member := range s.Members {
			if member.Role != protocol.Voter || member.ID == before.Node {
				return false
			}
		}
		return true
	}, 60*time.Second, 50*time.Millisecond)
	require.Equal(t, "2", leads.get("b"))

	// Who leads and is told to end hands over first.
	leads = leader(t, all)
	leads.signal(syscall.SIGTERM)
	written(t, all, "c", "3")
	for _, m := range all {
		if m.running() {
			require.Equal(t, "3", m.get("c"))
		}
	}
}

func TestThePeersAddressIsTaken(t *testing.T) {
	p := start(t)
	out, code := run(t, "--listen", "127.0.0.1:0", "--advertise", "127.0.0.1:1,"+p.addr, "--data", t.TempDir(),
		"--sync", "always", "--peer-listen", p.addr, "--peers", p.addr)
	require.Equal(t, exitListen, code, out)
	require.Contains(t, out, "--peer-listen: listen tcp "+p.addr)
	p.stop(syscall.SIGTERM)
}

// A folder of the one kind is refused by the other, in words, and nothing is changed.
func TestAFolderIsANodesOrAlone(t *testing.T) {
	alone := t.TempDir()
	p := start(t, "--data", alone)
	p.stop(syscall.SIGTERM)
	peer := freeAddress(t)
	node := t.TempDir()
	m := &member{t: t, dir: node, listen: freeAddress(t), peer: peer, peers: peer}
	m.start()
	written(t, []*member{m}, "a", "1")
	m.signal(syscall.SIGTERM)

	out, code := run(t, "--listen", m.listen, "--data", alone, "--sync", "always", "--peer-listen", peer, "--peers", peer)
	require.Equal(t, exitFiles, code, out)
	require.Contains(t, out, "is that of a server that is alone")
	require.NotContains(t, out, "remove the folder")
	for _, args := range [][]string{{"--listen", "127.0.0.1:0", "--data", node}, {"repair", node}} {
		out, code := run(t, args...)
		require.Equal(t, exitFiles, code, out)
		require.Contains(t, out, "is that of a node of a cluster")
	}
	for _, args := range [][]string{{"cluster", "show", alone}, {"cluster", "recover", "--yes", alone}} {
		out, code := run(t, args...)
		require.Equal(t, exitFiles, code, out)
		require.Contains(t, out, "is that of a server that is alone")
	}
	m.start()
	leader(t, []*member{m})
	require.Equal(t, "1", m.get("a"))
	p = start(t, "--data", alone)
	p.stop(syscall.SIGTERM)
}
