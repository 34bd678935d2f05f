package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// process is a running kvd.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan map[string]any // its log; closed at its end
	seen  []string            // the messages of the lines that await has passed
	addr  string
	http  string // http://HOST:PORT, with --http
}

// start runs kvd on a free port and waits until it serves.
func start(t *testing.T, args ...string) *process { return startBinary(t, "kvd", args...) }

// plainBinary builds kvd without the race detector, which takes several times the memory: for tests of how much kvd takes.
func plainBinary(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "kvd")
	out, err := exec.Command("go", "build", "-race=false", "-o", path, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// startBinary is start with another binary, or a script that runs kvd.
func startBinary(t *testing.T, name string, args ...string) *process {
	return launch(t, exec.Command(name, append([]string{"--listen", "127.0.0.1:0"}, args...)...))
}

// launch runs a command line of kvd and waits until it serves.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	p := &process{t: t, cmd: cmd, lines: make(chan map[string]any, 1000)}
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { p.cmd.Process.Kill() })
	go func() {
		defer close(p.lines)
		for in := bufio.NewScanner(stderr); in.Scan(); {
			line := map[string]any{"msg": in.Text()}
			json.Unmarshal(in.Bytes(), &line)
			p.lines <- line
		}
	}()
	if line := strings.Join(cmd.Args, " "); strings.Contains(line, "--http") && !strings.Contains(line, "--http unix:") {
		p.http = "http://" + strings.TrimSuffix(p.await("metrics on http://"), "/metrics")
	}
	p.addr = p.await("listening on ")
	return p
}

// await waits for a log line that begins so, and returns the rest of it.
func (p *process) await(prefix string) string {
	p.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		select {
		case line, ok := <-p.lines:
			require.True(p.t, ok, "kvd ended before it logged %q", prefix)
			p.seen = append(p.seen, line["msg"].(string))
			if rest, ok := strings.CutPrefix(line["msg"].(string), prefix); ok {
				return rest
			}
			p.t.Log(line)
		case <-timeout:
			require.Fail(p.t, "no such log line", prefix)
		}
	}
}

// stop sends the signal, and checks that kvd ends as it should.
func (p *process) stop(s os.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(s))
	p.await("stopped")
	for line := range p.lines {
		require.Fail(p.t, "a log line after the last", "%v", line)
	}
	require.NoError(p.t, p.cmd.Wait())
}

func (p *process) dial(o client.Options) (*client.Client, error) {
	o.Timeout = 20 * time.Second
	c, err := client.Dial(p.t.Context(), p.addr, o)
	if err == nil {
		p.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

func (p *process) mustDial(o client.Options) *client.Client {
	p.t.Helper()
	c, err := p.dial(o)
	require.NoError(p.t, err)
	return c
}

func (p *process) get(path string) (int, string) {
	p.t.Helper()
	r, err := http.Get(p.http + path)
	require.NoError(p.t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(p.t, err)
	return r.StatusCode, string(body)
}

// TestInMemory: the defaults, the pages, and an orderly end, by either signal.
func TestInMemory(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		p := start(t, "--http", "127.0.0.1:0", "--history", "1")
		c := p.mustDial(client.Options{})
		require.Contains(t, c.Hello().Server, "kvd")
		_, err := c.Set(t.Context(), protocol.Set{Key: []byte("a"), Value: []byte("1")})
		require.NoError(t, err)
		status, body := p.get("/metrics")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, body, "kv_keys 1\n")
		for _, page := range []string{"/livez", "/healthz", "/readyz"} {
			status, _ := p.get(page)
			require.Equal(t, http.StatusOK, status, page)
		}
		p.stop(s)
		<-c.Done()
	}
}

// TestPagesBeyondLoopback: an orchestrator reaches metrics and health from elsewhere without any door being opened; who is on the
// machine gets profiles besides.
func TestPagesBeyondLoopback(t *testing.T) {
	p := start(t, "--http", ":0")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.http, "http://"))
	require.NoError(t, err)
	ask := func(host, page string) int {
		r, err := http.Get("http://" + net.JoinHostPort(host, port) + page)
		require.NoError(t, err)
		require.NoError(t, r.Body.Close())
		return r.StatusCode
	}
	hosts := map[string]int{"127.0.0.1": http.StatusOK}
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		if ip := a.(*net.IPNet).IP; ip.IsGlobalUnicast() {
			hosts[ip.String()] = http.StatusForbidden
		}
	}
	for host, profiles := range hosts {
		for page, want := range map[string]int{"/metrics": http.StatusOK, "/healthz": http.StatusOK,
			"/readyz": http.StatusOK, "/debug/pprof/cmdline": profiles} {
			require.Equal(t, want, ask(host, page), "%s at %s", page, host)
		}
	}
	p.stop(syscall.SIGTERM)
}

// TestData: what was written is there after a restart, under each sync policy.
func TestData(t *testing.T) {
	for _, policy := range []string{"always", "interval", "never"} {
		dir := filepath.Join(t.TempDir(), "made", "where", "missing")
		p := start(t, "--data", dir, "--sync", policy, "--http", "127.0.0.1:0")
		c := p.mustDial(client.Options{})
		version, err := c.Set(t.Context(), protocol.Set{Key: []byte("a"), Value: []byte("kept")})
		require.NoError(t, err)

		_, err = c.Snapshot(t.Context())
		require.NoError(t, err)
		require.Positive(t, stat(t, c, "snapshot_bytes"))
		require.EqualValues(t, map[string]uint64{"never": 1, "interval": 2, "always": 3}[policy], stat(t, c, "sync_policy"))
		require.Zero(t, stat(t, c, "read_only"))
		var names, described []string
		stats, err := c.Stats(t.Context())
		require.NoError(t, err)
		for _, s := range stats {
			names = append(names, s.Name)
		}
		for _, f := range protocol.Figures() {
			if !strings.HasPrefix(f.Name, "cluster_") { // it is in none
				described = append(described, f.Name)
			}
		}
		require.Equal(t, described, names)
		_, body := p.get("/metrics")
		require.Regexp(t, `(?m)^kv_log_syncs_total [1-9]`, body)
		require.Contains(t, body, "kv_log_files 1\n")
		require.Eventually(t, func() bool { // one may come in between
			_, body := p.get("/metrics")
			return number(t, body, "kv_sync_seconds_count") == number(t, body, "kv_log_syncs_total")
		}, 20*time.Second, time.Millisecond)
		require.Contains(t, body, "kv_snapshot_failures_total 0\n")
		require.LessOrEqual(t, number(t, body, "kv_snapshot_age_seconds"), number(t, body, "kv_uptime_seconds")+1)

		second := exec.Command("kvd", "--listen", "127.0.0.1:0", "--data", dir)
		out, err := second.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "in use by another process")

		p.stop(syscall.SIGTERM)
		p = start(t, "--data", dir, "--sync", policy)
		v, err := p.mustDial(client.Options{}).Get(t.Context(), []byte("a"))
		require.NoError(t, err)
		require.Equal(t, "kept", string(v.Data))
		require.Equal(t, version, v.Version)
		p.stop(syscall.SIGTERM)
	}
}

// TestHistory: earlier versions are kept, for as long as --history-age says; those of keys that expired by themselves too.
func TestHistory(t *testing.T) {
	p := start(t, "--history", "5", "--history-age", "50ms")
	c := p.mustDial(client.Options{})
	kept := p.mustDial(client.Options{})
	for _, q := range []protocol.Set{
		{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("a"), Value: []byte("2")},
		{Key: []byte("b"), Value: []byte("1"), TTL: 50},
	} {
		_, err := c.Set(t.Context(), q)
		require.NoError(t, err)
	}
	for stat(t, c, "history_versions") > 0 || stat(t, c, "keys") > 1 {
		require.NoError(t, t.Context().Err())
	}
	revisions, err := kept.History(t.Context(), []byte("a"), 0)
	require.NoError(t, err)
	require.Len(t, revisions, 1)
	_, err = kept.History(t.Context(), []byte("b"), 0)
	require.ErrorIs(t, err, protocol.ErrNotFound)
	p.stop(syscall.SIGTERM)
}

// TestDrain: a client that does not go away does not hold up the end for longer than --drain.
func TestDrain(t *testing.T) {
	p := start(t, "--drain", "100ms")
	nc, err := net.Dial("tcp", p.addr)
	require.NoError(t, err)
	defer nc.Close()
	pings := protocol.AppendResponse(nil, protocol.OpPing, 0, 1, make([]byte, 100_000))
	written := make(chan int)
	go func() {
		for n := 0; ; n++ {
			if _, err := nc.Write(pings); err != nil {
				written <- n
				return
			}
		}
	}()
	c := p.mustDial(client.Options{})
	require.Eventually(t, func() bool { return stat(t, c, "bytes_in") > 1<<20 }, 20*time.Second, time.Millisecond)
	p.stop(syscall.SIGTERM)
	require.Positive(t, <-written)
}

// number is the value of a metric in a page.
func number(t *testing.T, page, name string) int {
	m := regexp.MustCompile(`(?m)^` + name + ` (\d+)$`).FindStringSubmatch(page)
	require.NotNil(t, m, "no %s in %s", name, page)
	n, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	return n
}

func stat(t *testing.T, c *client.Client, name string) uint64 {
	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	for _, s := range stats {
		if s.Name == name {
			return s.Value
		}
	}
	require.Fail(t, "no such figure", name)
	return 0
}

// TestPortInUse: who can't listen says so and ends.
func TestPortInUse(t *testing.T) {
	p := start(t)
	out, err := exec.CommandContext(context.Background(), "kvd", "--listen", p.addr).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "address already in use")
	require.Contains(t, string(out), fmt.Sprint(p.addr))
	p.stop(syscall.SIGTERM)
}

// freeAddress is an address that nobody listens on, and that nobody is given who asks for any port.
func freeAddress(t *testing.T) string {
	for {
		addr := fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			require.NoError(t, l.Close())
			return addr
		}
	}
}

// TestHealth: kvd health finds the server as its own --http says, and tells ready, alive and gone apart.
func TestHealth(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // not asked
	p := start(t, "--http", "0.0.0.0:0")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.http, "http://"))
	require.NoError(t, err)
	for _, args := range [][]string{{"--http", ":" + port}, {"--http", "0.0.0.0:" + port},
		{"--http", "127.0.0.1:" + port}, {"--live", "--http", ":" + port}} {
		out, code := run(t, append([]string{"health"}, args...)...)
		require.Zero(t, code, out)
		require.Equal(t, "ok\n", out)
	}
	t.Setenv("KVD_HTTP", ":"+port)
	out, code := run(t, "health")
	require.Zero(t, code, out)
	p.stop(syscall.SIGTERM)
	out, code = run(t, "health", "--live")
	require.Equal(t, exitDamaged, code, out)
}
