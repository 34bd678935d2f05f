package main

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/protocol/client"
)

// A command that is interrupted says what came of it, and ends by the signal, as a script around it has to see.
func TestInterrupted(t *testing.T) {
	for command, says := range map[string]string{
		"get a":             "cancelled",
		"set a 1":           "cancelled: the outcome of the write is unknown",
		"import -":          "unknown: lines 1-",
		"bench --mix set=1": "0 operations",
		"stats --watch":     "",
	} {
		l, err := startSilent()
		require.NoError(t, err)
		defer l.Close()
		cmd := (&server{addr: l.Addr().String()}).kvc(t, strings.Fields(command)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		if command == "import -" {
			_, err := stdin.Write([]byte(strings.Repeat("k\tv\n", 300)))
			require.NoError(t, err)
			stdin.Close()
		}
		<-l.asked
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		cmd.Wait()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		assert.True(t, status.Signaled() && status.Signal() == syscall.SIGINT, "%s: %v", command, cmd.ProcessState)
		assert.Contains(t, stderr.String(), says, command)
	}
}

// One Ctrl-C ends what waits for its input, which never comes.
func TestInterruptedWhileReading(t *testing.T) {
	s := testServer(t)
	for command, line := range map[string]string{"set a -": "x\n", "mset -": "k\tv\n", "mget -": "k\n", "del -": "k\n",
		"txn": "# x\n", "": "# x\n", "import -": "k\tv\n"} {
		cmd := s.kvc(t, strings.Fields(command)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = stdin.Write([]byte(strings.Repeat(line, 1<<20/len(line)))) // more than a pipe holds: so kvc reads
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		cmd.Wait()
		status := cmd.ProcessState.Sys().(syscall.WaitStatus)
		assert.True(t, status.Signaled() && status.Signal() == syscall.SIGINT, "%s: %v", command, cmd.ProcessState)
		assert.Contains(t, stderr.String(), "cancelled", command)
		stdin.Close()
	}
}

// A bench that is interrupted, while it stores its keys or later, takes them away before it ends.
func TestAnInterruptedBenchCleansUp(t *testing.T) {
	for _, args := range []string{"bench --keys 5000000", "bench --keys 1000 --duration 1h",
		"bench --mix set=1 --duration 1h", "bench --rate 1000 --duration 1h"} {
		s := testServer(t)
		c := connect(t, s)
		cmd := s.kvc(t, strings.Fields(args)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { return figure(t, c, "keys") > 0 }, patience, time.Millisecond)
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		cmd.Wait()
		assert.True(t, cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled(), "%s: %v", args, cmd.ProcessState)
		assert.Zero(t, figure(t, c, "keys"), "%s: %s", args, &stderr)
		assert.Zero(t, figure(t, c, "history_versions"), "%s: %s", args, &stderr)
	}
}

// figure is one of the server's figures.
func figure(t *testing.T, c *client.Client, name string) uint64 {
	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	for _, s := range stats {
		if s.Name == name {
			return s.Value
		}
	}
	return 0
}
