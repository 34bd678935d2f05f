package main

import (
	"context"
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

// TestNemesis: while a nemesis strikes a cluster again and again, what clients are answered through all doors is
// explained by one order (porcupine); all that was acknowledged is there afterwards, at every node; what is read under
// a bound is not older; and the nodes' contents are the same.
//
// It runs in namespaces of its own (unshare), where it can cut nodes off from each other. With KV_SOAK=1 each nemesis
// has its rounds, and those that a machine has only for root: disks. KV_NEMESIS=rotating runs the rounds of that one
// alone, KV_NEMESIS=rotating,5 that round, KV_NEMESIS_ROUNDS=N says how often, and KV_NEMESIS_MINUTES=N how long each
// takes at least, with little load: to see that writes go on, and that the nodes' memory does not grow.
func TestNemesis(t *testing.T) {
	if os.Getenv(inNamespaces) == "" {
		flags := []string{"-mnpf", "--kill-child", "--mount-proc"}
		if os.Getuid() != 0 {
			flags = append(flags, "-Ur")
		}
		if out, err := exec.Command("unshare", append(flags, "sh", "-ec", enter+"; ip netns add probe; ip rule add pref 100 from 10.77.0.2 to 10.77.1.2 blackhole")...).CombinedOutput(); err != nil {
			t.Logf("nodes can't be cut off from each other on this machine, and are only killed and stopped: unshare: %v: %s", err, out)
		} else {
			again := append(flags, os.Args[0], "-test.run=^TestNemesis$",
				"-test.v="+fmt.Sprint(testing.Verbose()), "-test.timeout=0")
			cmd := exec.CommandContext(t.Context(), "unshare", append(again, "-test.outputdir="+t.ArtifactDir())...)
			cmd.Env = append(os.Environ(), inNamespaces+"="+t.ArtifactDir())
			cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
			require.NoError(t, cmd.Run())
			return
		}
	} else {
		shell(t, enter)
	}

	rounds := []round{{nemesis: "kill and stop", nodes: 3, histories: 1},
		{nemesis: "rotating", nodes: 3, histories: 1, tls: true}}
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

// numberOf returns the number in an environment variable; 0: it is not set.
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

// run has a cluster struck while clients ask it, and looks at what they were answered, and at what is there afterwards.
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
	w.found(r, n, dir)

	minutes := numberOf(t, "KV_NEMESIS_MINUTES")
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
	histories, why := w.histories(r, n, seed, time.Duration(minutes)*time.Minute)
	cancel()
	side.Wait()

	if slices.Sort(gaps); len(gaps) > 0 {
		t.Logf("%d strikes; without an acknowledged write: %v in the middle, %v at most; %s", len(gaps),
			gaps[len(gaps)/2].Round(time.Millisecond), gaps[len(gaps)-1].Round(time.Millisecond), strings.Join(w.notes, ", "))
	}
	w.quiet(ledger, r.nodes)
	for _, m := range w.all {
		w.kill(m)
	}
	t.Logf("%d histories of 1000 requests; %d writes acknowledged; of reads under a bound %d answered, %d refused; without an answer were %v",
		len(histories), ledger.sets, ledger.fresh, ledger.stale, why)
	checkHistories(t, histories, dir)
	if os.Getenv("KV_SOAK") != "" && n.majority && !r.members && len(gaps) > 0 {
		require.Less(t, gaps[len(gaps)-1], 5*time.Second, "no write was taken, though a majority was connected")
	}
}

// found makes the round's nodes, which log below dir, and one more, and starts them.
func (w *world) found(r round, n nemesis, dir string) {
	t := w.t
	users := filepath.Join(t.TempDir(), "users")
	writeUsers(t, users, "nemesis", "admin", "adrasteia")
	var peers []string
	for i := range r.nodes + 1 {
		m := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t), web: freeAddress(t),
			user: "nemesis", secret: "adrasteia"}
		m.args = []string{"--http", m.web, "--auth-file", users, "--history", "3", "--insecure"}
		if w.net != nil {
			m.listen, m.peer, m.web = w.net.host(i)+":7070", w.net.host(i)+":7071", w.net.host(i)+":7072"
			m.command = []string{"ip", "netns", "exec", w.net.name(i), "kvd"}
			m.args[1] = m.web
		}
		log, err := os.Create(filepath.Join(dir, fmt.Sprintf("node-%d.log", i)))
		require.NoError(t, err)
		t.Cleanup(func() { log.Close() })
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
}

// histories has clients ask, as often as the round says and for as long as is asked for, and returns what they did, and
// why how many requests had no answer.
func (w *world) histories(r round, n nemesis, seed uint64, least time.Duration) (all [][]porcupine.Operation, why map[string]int) {
	begin := time.Now()
	why = map[string]int{} // but for addresses
	for i := 0; i < r.histories || time.Since(begin) < least; i++ {
		if least > 0 {
			w.pause(60_000, 1)
		}
		var clients []*outsideClient
		o := linear.Options{Clients: 5, Requests: 200, Batch: 1, Seed: 1000*seed + uint64(i), Counters: true,
			TTL: 200 * time.Millisecond, Skewed: n.skews}
		all = append(all, linear.Run(o, func() linear.Client {
			c := newOutsideClient(w.t.Context(), w.all, keyNames(fmt.Sprintf("%d-", i)), o.Seed, len(clients))
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
	return all, why
}

var address = regexp.MustCompile(`[0-9.]+:[0-9]+|"http:[^"]*"`)

// strikes has the nemesis strike until the clients have ended, and returns how long nothing was acknowledged around
// each strike, at most.
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

// pick takes a node that runs and that nobody else has: every second time the leader, if there is one. It is given back
// with free.
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
