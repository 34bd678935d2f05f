package main

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// says sends a line to the server and returns all that it answers before it closes the connection.
func (p *process) says(line string) string {
	c, err := net.Dial("tcp", p.addr)
	require.NoError(p.t, err)
	defer c.Close()
	require.NoError(p.t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = c.Write([]byte(line + "\r\n"))
	require.NoError(p.t, err)
	answer, err := io.ReadAll(c)
	require.NoError(p.t, err)
	return string(answer)
}

// TestRedisClients: they are served, told what the options are under the names that they know, and may end the server in order.
func TestRedisClients(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "--data", dir, "--sync", "always", "--max-connections", "123")
	require.Equal(t, "+OK\r\n+OK\r\n", p.says("SET a 1\r\nQUIT"))
	require.Equal(t, "*2\r\n$10\r\nmaxclients\r\n$3\r\n123\r\n+OK\r\n", p.says("CONFIG GET maxclients\r\nQUIT"))
	require.Equal(t, "*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n+OK\r\n", p.says("CONFIG GET appendfsync\r\nQUIT"))
	require.Equal(t, ":0\r\n+OK\r\n+OK\r\n", p.says("LASTSAVE\r\nSAVE\r\nQUIT"))
	require.Regexp(t, `^:[1-9]\d+\r\n\+OK\r\n$`, p.says("LASTSAVE\r\nQUIT"))
	require.Empty(t, p.says("SHUTDOWN"))
	p.await("stopped")
	require.NoError(t, p.cmd.Wait())

	p = start(t, "--data", dir, "--evict", "sieve")
	require.Equal(t, "$1\r\n1\r\n+OK\r\n", p.says("GET a\r\nQUIT"))
	require.Contains(t, p.says("INFO memory\r\nQUIT"), "maxmemory_policy:allkeys-lru\r\n")
}

func TestRedisClientsAreSentAway(t *testing.T) {
	p := start(t, "--resp=false")
	require.Empty(t, p.says("PING"))
	p.await("closing a connection that does not speak")
}
