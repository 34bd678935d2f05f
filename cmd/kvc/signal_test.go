package main

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
