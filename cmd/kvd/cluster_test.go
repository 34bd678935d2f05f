package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
	"kv/store/linear"
)

// member is a node of a cluster on this machine.
type member struct {
	t                  *testing.T
	dir, listen, peers string
	peer               string

	mu  sync.Mutex
	p   *process         // nil: it is not running
	log []map[string]any // since it listened
}

// startCluster starts n founders, and waits until one leads.
func startCluster(t *testing.T, n int) (all []*member) {
	var peers []string
	for range n {
		m := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t)}
		peers = append(peers, m.peer)
		all = append(all, m)
	}
	for _, m := range all {
		m.peers = strings.Join(peers, ",")
		m.start()
	}
	leader(t, all)
	return all
}

// start starts the node, on what its folder has.
func (m *member) start(args ...string) {
	args = append([]string{"--listen", m.listen, "--data", m.dir, "--sync", "always", "--peer-listen", m.peer, "--peers", m.peers}, args...)
	p := launch(m.t, exec.Command("kvd", args...))
	go func() {
		for line := range p.lines {
			m.mu.Lock()
			m.log = append(m.log, line)
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

// status asks the node how the cluster is.
func (m *member) status() (protocol.ClusterResponse, error) {
	c, err := client.Dial(m.t.Context(), m.listen, client.Options{Timeout: 2 * time.Second})
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

// set writes at a node, until it is done there or elsewhere, or it is not known whether it is.
func (m *member) set(key, value string) error {
	c, err := client.Dial(m.t.Context(), m.listen, client.Options{Timeout: 20 * time.Second})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Set(m.t.Context(), protocol.Set{Key: []byte(key), Value: []byte(value)})
	return err
}

func (m *member) get(key string) string {
	c, err := client.Dial(m.t.Context(), m.listen, client.Options{Timeout: 20 * time.Second})
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

	// One that has lost its disk comes back as another, in its place.
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

// outsideClient sends each request to a node by itself: reads to any, writes too, until one takes them.
type outsideClient struct {
	all   []*member
	conns []*client.Client // nil: not connected
	rng   *rand.Rand
	ctx   context.Context
}

func (c *outsideClient) Do(batch []linear.Request) []linear.Response {
	time.Sleep(time.Duration(c.rng.IntN(20)) * time.Millisecond) // the client's pace: the faults take their time
	all := make([]linear.Response, len(batch))
	for i, q := range batch {
		all[i] = c.do(q)
	}
	return all
}

func (c *outsideClient) do(q linear.Request) linear.Response {
	for {
		at := c.rng.IntN(len(c.all))
		if c.conns[at] == nil {
			conn, err := client.Dial(c.ctx, c.all[at].listen, client.Options{Timeout: time.Second})
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				continue // nothing was sent
			}
			c.conns[at] = conn
		}
		r, err := request(c.ctx, c.conns[at], q)
		var said *protocol.Error
		switch {
		case err == nil:
			return r
		case errors.As(err, &said) && said.Status == protocol.StatusMoved:
			continue // nothing was applied
		case errors.As(err, &said) && said.Status == protocol.StatusConflict:
			return linear.Response{Conflict: true, Index: said.Index, Version: said.Version}
		case !errors.As(err, &said):
			c.conns[at].Close()
			c.conns[at] = nil
		}
		return linear.Response{Unknown: true}
	}
}

func request(ctx context.Context, c *client.Client, q linear.Request) (r linear.Response, err error) {
	var keys [][]byte
	var pairs []protocol.Pair
	txn := protocol.Txn{WithMeta: true}
	for _, s := range q.Steps {
		key := linear.Key(s.Key)
		keys = append(keys, key)
		pairs = append(pairs, protocol.Pair{Key: key, Value: []byte(s.Value)})
		kind := map[linear.Kind]protocol.TxnKind{linear.Get: protocol.TxnGet, linear.Set: protocol.TxnSet, linear.Del: protocol.TxnDel}[s.Kind]
		txn.Ops = append(txn.Ops, protocol.TxnOp{Kind: kind, Key: key, Value: []byte(s.Value)})
	}
	for _, k := range q.Conditions {
		txn.Conditions = append(txn.Conditions, protocol.Condition{Version: k.Version, Key: linear.Key(k.Key)})
	}
	r.Results = make([]linear.Result, len(q.Steps))
	var values []protocol.Value
	switch q.Kind {
	case linear.Get, linear.MGet:
		values, err = c.MGet(ctx, keys...)
	case linear.Set:
		set := protocol.Set{Key: keys[0], Value: pairs[0].Value}
		for _, k := range q.Conditions {
			set.Conditional, set.IfVersion = true, k.Version
		}
		r.Version, err = c.Set(ctx, set)
	case linear.Del:
		r.Existed, r.Version, err = c.Del(ctx, keys...)
	case linear.MSet:
		r.Version, err = c.MSet(ctx, pairs...)
	case linear.Txn:
		var answer protocol.TxnResponse
		answer, err = c.Txn(ctx, txn)
		r.Version = answer.Version
		for i, result := range answer.Results {
			values = append(values, result.Value)
			r.Results[i].Existed = result.Existed
		}
	}
	for i, v := range values {
		if v.Found {
			r.Results[i].Found, r.Results[i].Value, r.Results[i].Version = true, string(v.Data), v.Version
		}
	}
	return r, err
}

// TestClusterHistories: what clients are answered from outside by three nodes, of which some are killed and stopped, is explained by one order.
func TestClusterHistories(t *testing.T) {
	rounds := 1
	if os.Getenv("KV_SOAK") != "" {
		rounds = 50
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { clusterHistory(t, seed) })
	}
}

func clusterHistory(t *testing.T, seed uint64) {
	all := startCluster(t, 3)
	done := make(chan struct{})
	var nemesis sync.WaitGroup
	nemesis.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 1))
		pause := func(d time.Duration) {
			select {
			case <-done:
			case <-time.After(d):
			}
		}
		for {
			pause(time.Duration(500+rng.IntN(1000)) * time.Millisecond)
			select {
			case <-done:
				return
			default:
			}
			m := all[rng.IntN(len(all))]
			if rng.IntN(2) == 0 {
				m.signal(syscall.SIGKILL)
				pause(time.Duration(rng.IntN(1000)) * time.Millisecond)
				m.start()
			} else {
				m.signal(syscall.SIGSTOP)
				pause(time.Duration(500+rng.IntN(1500)) * time.Millisecond)
				m.signal(syscall.SIGCONT)
			}
		}
	})
	clients := uint64(0)
	history := linear.Run(linear.Options{Clients: 5, Requests: 400, Batch: 1, Seed: seed}, func() linear.Client {
		clients++
		return &outsideClient{all: all, conns: make([]*client.Client, len(all)), rng: rand.New(rand.NewPCG(seed, clients)), ctx: t.Context()}
	})
	close(done)
	nemesis.Wait()
	unknown := 0
	for _, op := range history {
		if op.Output.(linear.Response).Unknown {
			unknown++
		}
	}
	t.Logf("%d of %d requests have no answer", unknown, len(history))
	require.NoError(t, linear.Check(history, 5*time.Minute))
}

func TestThePeersAddressIsTaken(t *testing.T) {
	p := start(t)
	out, code := run(t, "--listen", "127.0.0.1:0", "--advertise", "127.0.0.1:1,"+p.addr, "--data", t.TempDir(), "--sync", "always", "--peer-listen", p.addr, "--peers", p.addr)
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
	for _, args := range [][]string{{"--listen", "127.0.0.1:0", "--data", node}, {"check", node}, {"repair", node}} {
		out, code := run(t, args...)
		require.Equal(t, exitFiles, code, out)
		require.Contains(t, out, "is that of a node of a cluster")
	}
	m.start()
	leader(t, []*member{m})
	require.Equal(t, "1", m.get("a"))
	p = start(t, "--data", alone)
	p.stop(syscall.SIGTERM)
}
