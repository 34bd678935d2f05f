package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
	"kv/protocol/printable"
)

// TestLinesAreNotWaitedFor: nobody reads; who logs goes on, what the queue holds comes once somebody reads, and the rest is
// counted.
func TestLinesAreNotWaitedFor(t *testing.T) {
	r, w := io.Pipe()
	q := newLineQueue(w)
	const beyond = 10
	written := 0
	for ; q.dropped.Load() < beyond; written++ {
		n, err := fmt.Fprintln(q, written)
		require.NoError(t, err)
		require.Positive(t, n)
	}
	q.flush(time.Millisecond) // gives up
	var want strings.Builder
	for i := range written - beyond {
		fmt.Fprintln(&want, i)
	}
	got := make([]byte, want.Len())
	_, err := io.ReadFull(r, got)
	require.NoError(t, err)
	require.Equal(t, want.String(), string(got))
	require.EqualValues(t, beyond, q.dropped.Load())
}

// fullDisk takes so many bytes and then none.
type fullDisk struct {
	bytes.Buffer
	room int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	n, _ := d.Buffer.Write(p[:min(len(p), d.room)])
	d.room -= n
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// TestLinesOnAFullDisk: what can't be written is counted, and the first line that can be begins a new one.
func TestLinesOnAFullDisk(t *testing.T) {
	disk := &fullDisk{room: 6}
	q := newLineQueue(disk)
	line := func(text string, dropped int) {
		fmt.Fprintln(q, text)
		q.flush(20 * time.Second) // the writing goroutine now waits for the next line
		require.EqualValues(t, dropped, q.dropped.Load())
	}
	line("one", 0)
	line("two", 1) // two bytes fit
	line("three", 2)
	disk.room = 100
	line("four", 2)
	line("five", 2)
	require.Equal(t, "one\ntw\nfour\nfive\n", disk.String())
}

// TestDurationsHaveUnits: in JSON too.
func TestDurationsHaveUnits(t *testing.T) {
	var out bytes.Buffer
	q := newLineQueue(&out)
	newLogger(q, noTerminal(t)).Info("done", "took", 1500*time.Millisecond)
	q.flush(20 * time.Second)
	require.Contains(t, out.String(), `"took":"1.5s"`)
}

func noTerminal(t *testing.T) *os.File {
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// logsTo starts kvd with a stderr that the test reads no further than to the address.
func logsTo(t *testing.T, args ...string) (p *process, stderr *os.File) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	p = &process{t: t}
	p.cmd = exec.Command("kvd", append([]string{"--listen", "127.0.0.1:0"}, args...)...)
	p.cmd.Stderr = w
	require.NoError(t, p.cmd.Start())
	w.Close()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	var log []byte
	for p.addr == "" {
		buf := make([]byte, 4096)
		n, err := r.Read(buf)
		require.NoError(t, err, "%s", log)
		log = append(log, buf[:n]...)
		if _, rest, ok := strings.Cut(string(log), `"listening on `); ok {
			p.addr, _, _ = strings.Cut(rest, `"`)
		}
		if _, rest, ok := strings.Cut(string(log), `"metrics on `); ok {
			p.http, _, _ = strings.Cut(rest, `/metrics"`)
		}
	}
	return p, r
}

// TestLogWithoutReader: the server outlives whoever read its log, and ends in order.
func TestLogWithoutReader(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p, stderr := logsTo(t, "--data", dir)
	require.NoError(t, stderr.Close())
	c := p.mustDial(client.Options{})
	for stat(t, c, "log_lines_dropped") < 3 {
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP)) // logs a line
	}
	_, err := c.Set(t.Context(), protocol.Set{Key: []byte("a"), Value: []byte("kept")})
	require.NoError(t, err)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait())

	p = start(t, "--data", dir)
	v, err := p.mustDial(client.Options{}).Get(t.Context(), []byte("a"))
	require.NoError(t, err)
	require.Equal(t, "kept", string(v.Data))
	p.stop(syscall.SIGTERM)
}

// TestLogNotRead: somebody holds the log open and reads nothing. Requests and pages are answered, lines are counted as
// dropped, and the end is in order.
func TestLogNotRead(t *testing.T) {
	p, _ := logsTo(t, "--http", "127.0.0.1:0")
	c := p.mustDial(client.Options{})
	for stat(t, c, "log_lines_dropped") == 0 {
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	}
	status, body := p.get("/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Regexp(t, `(?m)^kv_log_lines_dropped_total [1-9]`, body)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait())
}

// TestLogClosed: kvd is started without a stderr.
func TestLogClosed(t *testing.T) {
	l := freeAddress(t)
	cmd := exec.Command("sh", "-c", `exec kvd --listen "$0" 2>&-`, l)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	p := &process{t: t, cmd: cmd, addr: l}
	var c *client.Client
	require.Eventually(t, func() (up bool) {
		var err error
		c, err = p.dial(client.Options{})
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	_, err := c.Set(t.Context(), protocol.Set{Key: []byte("a")})
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait())
}

// TestStdoutGone: whoever reads stdout is gone; that is an error with its exit code, not a silent end.
func TestStdoutGone(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"--version"}, {"token", "anna"}, {"completion", "bash"}} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, r.Close())
		var stderr bytes.Buffer
		cmd := exec.Command("kvd", args...)
		cmd.Stdout, cmd.Stderr = w, &stderr
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Run(), &exit, "%v", args)
		require.Equal(t, exitFiles, exit.ExitCode(), "%v", args)
		require.Contains(t, stderr.String(), "broken pipe", "%v", args)
		require.NoError(t, w.Close())
	}
}

// TestWhatIsWrongIsPrintable: an argument can't move the cursor of whoever reads what is wrong with it.
func TestWhatIsWrongIsPrintable(t *testing.T) {
	for _, args := range [][]string{{"check", "f\x9bo\x1b["}, {"--f\x9bo\x1b["},
		{"--auth-file", "f\x9bo\x1b["}, {"f\x9bo\x1b["}} {
		out, code := run(t, args...)
		require.NotZero(t, code)
		require.Contains(t, out, `f\x9bo\x1b[`)
	}
	require.Equal(t, "ü\n\\xc2\\x85\\x07", printable.Lines("ü\n\u0085\a"))
}
