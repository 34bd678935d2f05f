package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/store/linear"
)

// TestNemesis: while a nemesis strikes a cluster again and again, what clients are answered through all doors is explained by one order (porcupine); all
// that was acknowledged is there afterwards, at every node; what is read under a bound is not older; and the nodes' contents are the same.
//
// It runs in namespaces of its own (unshare), where it can cut nodes off from each other. With KV_SOAK=1 each nemesis has its rounds, and those that a machine
// has only for root: disks. KV_NEMESIS=rotating runs the rounds of that one alone, KV_NEMESIS=rotating,5 that round, KV_NEMESIS_ROUNDS=N says how often, and KV_NEMESIS_MINUTES=N how
// long each takes at least, with little load: to see that writes go on, and that the nodes' memory does not grow.
func TestNemesis(t *testing.T) {
	if os.Getenv(inNamespaces) == "" {
		flags := []string{"-mnpf", "--kill-child", "--mount-proc"}
		if os.Getuid() != 0 {
			flags = append(flags, "-Ur")
		}
		if out, err := exec.Command("unshare", append(flags, "sh", "-ec", enter+"; ip netns add probe; ip rule add pref 100 from 10.77.0.2 to 10.77.1.2 blackhole")...).CombinedOutput(); err != nil {
			t.Logf("nodes can't be cut off from each other on this machine, and are only killed and stopped: unshare: %v: %s", err, out)
		} else {
			again := append(flags, os.Args[0], "-test.run=^TestNemesis$", "-test.v="+fmt.Sprint(testing.Verbose()), "-test.timeout=0")
			cmd := exec.CommandContext(t.Context(), "unshare", append(again, "-test.outputdir="+t.ArtifactDir())...)
			cmd.Env = append(os.Environ(), inNamespaces+"="+t.ArtifactDir())
			cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
			require.NoError(t, cmd.Run())
			return
		}
	} else {
		shell(t, enter)
	}

	rounds := []round{{nemesis: "kill and stop", nodes: 3, histories: 1}, {nemesis: "rotating", nodes: 3, histories: 1, tls: true}}
	if os.Getenv("KV_SOAK") != "" {
		rounds = soakRounds(t)
	}
	for i, r := range rounds {
		n := nemesisNamed(r.nemesis)
		switch {
		case n.needs != "" && os.Getenv(inNamespaces) == "", n.needs == "root" && os.Getuid() != 0:
			t.Logf("%s: not run, for it needs %s", n.name, n.needs)
			continue
		}
		t.Run(r.String(), func(t *testing.T) { r.run(t, n, uint64(i)) })
	}
}

// enter makes namespaces a world of their own.
const enter = "ip link set lo up; mount -t tmpfs tmpfs /run; echo 1 >/proc/sys/net/ipv4/ip_forward"

// inNamespaces is set, to where what a test leaves is to be put, for the process that runs in namespaces of its own.
const inNamespaces = "KV_NEMESIS_DIR"

// round is a cluster's life.
type round struct {
	nemesis   string
	nodes     int
	histories int  // one after the other, of 200 requests each of five clients
	members   bool // nodes are added, removed, replaced and made leaders meanwhile
	tls       bool // the nodes prove who they are
}

func (r round) String() string {
	s := fmt.Sprintf("%s,%d", strings.ReplaceAll(r.nemesis, " ", "-"), r.nodes)
	if r.members {
		s += ",members"
	}
	if r.tls {
		s += ",tls"
	}
	return s
}

// soakRounds are each nemesis on three nodes, on five, and with a change of the members all the while.
func soakRounds(t *testing.T) (all []round) {
	for i := range max(1, numberOf(t, "KV_NEMESIS_ROUNDS")) {
		for j, n := range nemeses {
			all = append(all, round{nemesis: n.name, nodes: 3, histories: 5, tls: (i+j)%2 == 0})
			all = append(all, round{nemesis: n.name, nodes: 3 + 2*((i+j)%2), histories: 5, members: true, tls: (i+j)%2 == 1})
			if n.needs == "namespaces" {
				all = append(all, round{nemesis: n.name, nodes: 5, histories: 5})
			}
		}
	}
	only := os.Getenv("KV_NEMESIS")
	all = slices.DeleteFunc(all, func(r round) bool { return only != "" && r.String() != only && r.nemesis != only })
	require.NotEmpty(t, all, "KV_NEMESIS=%s names no round", only)
	return all
}

// numberOf is the number that a variable has, 0: it is not set.
func numberOf(t *testing.T, variable string) (n int) {
	if text := os.Getenv(variable); text != "" {
		var err error
		n, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	return n
}

// world is a cluster, and what is around it.
type world struct {
	t      *testing.T
	ctx    context.Context // ends when the clients have
	all    []*member       // the last of them is not running, or is one that has been removed
	net    *network        // nil: there are no namespaces
	delays []*delays
	clocks []clock
	busy   []sync.Mutex // of each member: somebody has struck it, or changes it

	mu    sync.Mutex
	rng   *rand.Rand
	notes []string // what the nemesis has to say, for the log
}

func (w *world) intN(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

func (r round) run(t *testing.T, n nemesis, seed uint64) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &world{t: t, ctx: ctx, rng: rand.New(rand.NewPCG(seed, 1)), busy: make([]sync.Mutex, r.nodes+1)}
	dir := t.ArtifactDir()
	if base := os.Getenv(inNamespaces); base != "" {
		w.net = newNetwork(t, r.nodes+1)
		dir = filepath.Join(base, strings.ReplaceAll(t.Name(), "/", "-"))
		require.NoError(t, os.MkdirAll(dir, 0o755))
	}
	users := filepath.Join(t.TempDir(), "users")
	writeUsers(t, users, "nemesis", "admin", "adrasteia")
	var peers []string
	for i := range r.nodes + 1 {
		m := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t), web: freeAddress(t), user: "nemesis", secret: "adrasteia"}
		m.args = []string{"--http", m.web, "--auth-file", users, "--history", "3", "--insecure"}
		if w.net != nil {
			m.listen, m.peer, m.web = w.net.host(i)+":7070", w.net.host(i)+":7071", w.net.host(i)+":7072"
			m.command = []string{"ip", "netns", "exec", w.net.name(i), "kvd"}
			m.args[1] = m.web
		}
		log, err := os.Create(filepath.Join(dir, fmt.Sprintf("node-%d.log", i)))
		require.NoError(t, err)
		defer log.Close()
		m.out = log
		w.all = append(w.all, m)
	}
	if n.prepare != nil {
		n.prepare(w)
	}
	if r.tls {
		w.certificates()
	}
	for _, m := range w.all[:r.nodes] {
		peers = append(peers, m.peer)
	}
	for _, m := range w.all {
		m.peers = strings.Join(peers, ",")
	}
	for _, m := range w.all[:r.nodes] {
		m.start()
	}
	leader(t, w.all)

	begin, minutes := time.Now(), numberOf(t, "KV_NEMESIS_MINUTES")
	ledger := newLedger(w.all)
	if minutes > 0 {
		ledger.keys, ledger.pace = 1000, 50*time.Millisecond
	}
	written(t, w.all, counterKey, "0")
	var side sync.WaitGroup // of what goes on until the clients have their answers
	side.Go(func() { ledger.spend(ctx) })
	for i := range 2 {
		side.Go(func() { ledger.write(ctx, seed, i) })
	}
	for _, bound := range []time.Duration{0, 200 * time.Millisecond, time.Second} {
		side.Go(func() { ledger.read(ctx, seed, bound) })
	}
	var gaps []time.Duration
	side.Go(func() { gaps = w.strikes(n, ledger) })
	if r.members {
		side.Go(w.changeMembers)
	}
	if minutes > 0 {
		side.Go(func() { w.watchMemory(ctx, filepath.Join(dir, "memory.txt")) })
	}
	var histories [][]porcupine.Operation
	why := map[string]int{} // requests had no answer, but for addresses
	for i := 0; i < r.histories || time.Since(begin) < time.Duration(minutes)*time.Minute; i++ {
		if minutes > 0 {
			w.pause(60_000, 1)
		}
		var clients []*outsideClient
		o := linear.Options{Clients: 5, Requests: 200, Batch: 1, Seed: 1000*seed + uint64(i), Counters: true, TTL: 200 * time.Millisecond, Skewed: n.skews}
		histories = append(histories, linear.Run(o, func() linear.Client {
			c := newOutsideClient(t.Context(), w.all, keyNames(fmt.Sprintf("%d-", i)), o.Seed, len(clients))
			clients = append(clients, c)
			return c
		}))
		for _, c := range clients {
			for text, n := range c.why {
				why[address.ReplaceAllString(text, "…")] += n
			}
			c.Close() // or the nodes had ever more connections
		}
	}
	cancel()
	side.Wait()

	if slices.Sort(gaps); len(gaps) > 0 {
		t.Logf("%d strikes; without an acknowledged write: %v in the middle, %v at most; %s", len(gaps), gaps[len(gaps)/2].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond), strings.Join(w.notes, ", "))
	}
	w.quiet(ledger, r.nodes)
	for _, m := range w.all {
		w.kill(m)
	}
	t.Logf("%d histories of 1000 requests; %d writes acknowledged; of reads under a bound %d answered, %d refused; without an answer were %v",
		len(histories), ledger.sets, ledger.fresh, ledger.stale, why)
	for i, history := range histories {
		file := filepath.Join(dir, fmt.Sprintf("history-%d.json", i))
		text, err := json.Marshal(history)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		switch err := linear.Check(history, 40*time.Second); {
		case errors.Is(err, linear.ErrUndecided):
			t.Logf("%s: %v", file, err)
		case err != nil:
			t.Errorf("%s: %v", file, err)
		default:
			require.NoError(t, os.Remove(file))
		}
	}
	if os.Getenv("KV_SOAK") != "" && n.majority && !r.members && len(gaps) > 0 {
		require.Less(t, gaps[len(gaps)-1], 5*time.Second, "no write was taken, though a majority was connected")
	}
}

var address = regexp.MustCompile(`[0-9.]+:[0-9]+|"http:[^"]*"`)

// strikes has the nemesis strike until the clients have ended, and returns how long nothing was acknowledged around each strike, at most.
func (w *world) strikes(n nemesis, ledger *ledger) (gaps []time.Duration) {
	for {
		w.pause(500, 1000)
		if w.ctx.Err() != nil {
			return gaps
		}
		ledger.lap()
		heal := n.strike(w)
		if heal != nil {
			hold := n.hold
			if hold == 0 {
				hold = 2000
			}
			w.pause(hold/2, hold)
			heal()
		}
		w.pause(500, 500)
		if w.ctx.Err() == nil {
			gaps = append(gaps, ledger.lap())
		}
	}
}

// pause waits for some milliseconds, and some more, or until the clients have ended.
func (w *world) pause(least, more int) {
	select {
	case <-w.ctx.Done():
	case <-time.After(time.Duration(least+w.intN(more)) * time.Millisecond):
	}
}

// pick takes a node that runs and that nobody else has: every second time the leader, if there is one. It is given back with free.
func (w *world) pick() int {
	at := w.intN(len(w.all))
	if w.intN(2) == 0 {
		if leads := w.leads(); leads >= 0 {
			at = leads
		}
	}
	for {
		if w.busy[at].TryLock() {
			if w.all[at].running() {
				return at
			}
			w.free(at)
		}
		at = w.intN(len(w.all))
		time.Sleep(time.Millisecond)
	}
}

func (w *world) free(at int) { w.busy[at].Unlock() }

// leads returns who leads, as most know; -1: nobody does.
func (w *world) leads() int {
	votes := map[string]int{}
	for _, m := range w.all {
		if !m.running() {
			continue
		}
		s, err := w.status(m)
		for _, one := range s.Members {
			if err == nil && one.ID == s.Leader {
				votes[one.Client]++
			}
		}
	}
	for i, m := range w.all {
		if votes[m.listen] > len(w.all)/2-1 {
			return i
		}
	}
	return -1
}

// status asks a node that may not answer.
func (w *world) status(m *member) (s protocol.ClusterResponse, err error) {
	c, err := m.dial(500 * time.Millisecond)
	if err != nil {
		return s, err
	}
	defer c.Close()
	return c.Cluster(w.t.Context())
}

// quiet is called when nothing is broken any more. It waits until all nodes have all, and compares them, and what was acknowledged.
func (w *world) quiet(ledger *ledger, nodes int) {
	leader(w.t, w.all)
	var voters int
	require.Eventually(w.t, func() bool {
		s, err := leader(w.t, w.all).status()
		voters = 0
		for _, m := range s.Members {
			if m.Role == protocol.Voter && m.Reachable {
				voters++
			}
		}
		return err == nil && voters == len(s.Members) && voters >= nodes
	}, 2*time.Minute, 50*time.Millisecond, "%d voters", &voters)
	var differ error
	require.Eventually(w.t, func() bool {
		var first map[string]protocol.Value
		differ = nil
		for _, m := range w.all {
			if s, err := w.status(m); err != nil || !slices.ContainsFunc(s.Members, func(one protocol.ClusterMember) bool { return one.ID == s.Node }) {
				continue // it belongs to it no more
			}
			has := contents(w.t, m)
			if err := ledger.compare(has); err != nil {
				differ = errors.Join(differ, fmt.Errorf("%s: %w", m.listen, err))
			}
			if first == nil {
				first = has
			} else if err := same(first, has); err != nil {
				differ = errors.Join(differ, fmt.Errorf("%s: %w", m.listen, err))
			}
		}
		return differ == nil
	}, 20*time.Second, 500*time.Millisecond, "%v", lazy{&differ})
}

// lazy is an error as it is when it is printed.
type lazy struct{ err *error }

func (l lazy) String() string { return fmt.Sprint(*l.err) }

// contents are all keys that a node has, as it is asked itself.
func contents(t *testing.T, m *member) map[string]protocol.Value {
	c, err := m.dial(20 * time.Second)
	require.NoError(t, err)
	defer c.Close()
	all := map[string]protocol.Value{}
	for q := (protocol.Scan{WithMeta: true, WithValues: true}); ; {
		page, err := c.Scan(t.Context(), q)
		require.NoError(t, err)
		for _, item := range page.Items {
			all[string(item.Key)] = protocol.Value{Found: true, Data: item.Value, Meta: item.Meta}
		}
		if q.Cursor = page.Cursor; len(q.Cursor) == 0 {
			return all
		}
	}
}

// same says how the contents of two nodes differ.
func same(a, b map[string]protocol.Value) error {
	for key, v := range a {
		if o, ok := b[key]; !ok || string(o.Data) != string(v.Data) || o.Meta != v.Meta {
			return fmt.Errorf("%s is %q %+v, and %q %+v at another node", key, o.Data, o.Meta, v.Data, v.Meta)
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			return fmt.Errorf("%s is there, and not at another node", key)
		}
	}
	return nil
}

// certificates has the nodes prove who they are.
func (w *world) certificates() {
	dir := w.t.TempDir()
	var hosts []net.IP
	for _, m := range w.all {
		host, _, err := net.SplitHostPort(m.peer)
		require.NoError(w.t, err)
		hosts = append(hosts, net.ParseIP(host))
	}
	writeCertificate(w.t, dir+"/cert", dir+"/key", hosts...)
	for _, m := range w.all {
		m.args = append(m.args, "--peer-tls-cert", dir+"/cert", "--peer-tls-key", dir+"/key", "--peer-tls-ca", dir+"/cert")
	}
}
