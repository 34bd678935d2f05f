package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// kvc talks by a Unix socket as by TCP: by option, variable, context and in a script; what can't be says why.
func TestUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "kv")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	addr := "unix:" + filepath.Join(dir, "kv.sock")
	s, err := startServer(addr)
	require.NoError(t, err)
	t.Cleanup(s.stop)
	require.Equal(t, addr, s.addr)
	home := t.TempDir()
	run := func(args ...string) (stdout, stderr string, code int) {
		cmd := s.kvc(t, args...)
		cmd.Dir = dir
		cmd.Env = append(cmd.Env, "XDG_CONFIG_HOME="+home)
		if strings.Contains(strings.Join(args, " "), "--addr") || strings.Contains(strings.Join(args, " "), "--context") {
			cmd.Env = append(cmd.Env, "KV_ADDR=")
		}
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.Run()
		return out.String(), errs.String(), cmd.ProcessState.ExitCode()
	}
	for _, line := range []string{"set k v", "--addr unix:kv.sock incr n",
		"--addr unix:./kv.sock incr n", "--addr unix://" + filepath.Join(dir, "kv.sock") + " incr n",
		"context add here --addr unix:kv.sock", "--context here incr n", "bench --duration 1ms --keys 1 --connections 2", "ping"} {
		_, stderr, code := run(strings.Fields(line)...)
		require.Zero(t, code, "%s: %s", line, stderr)
	}
	stdout, _, _ := run("get", "n")
	assert.Equal(t, "4", stdout)
	stdout, _, _ = run("context", "show", "here")
	assert.Contains(t, stdout, addr)
	stdout, _, _ = run("__complete", "--addr", "unix:"+filepath.Join(dir, "k"))
	assert.Contains(t, stdout, addr)

	_, stderr, code := run("--tls", "--addr", "unix:kv.sock", "get", "k")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, addr+" is a Unix socket, over which no TLS is spoken")
	_, stderr, code = run("--addr", "unix:", "get", "k")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, "after unix: comes the path of a socket")
	_, stderr, code = run("--addr", "unix:nobody.sock", "get", "k")
	assert.Equal(t, 5, code)
	assert.Contains(t, stderr, "nobody.sock: no such file or directory")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	_, stderr, code = run("--addr", "unix:file", "get", "k")
	assert.Equal(t, 5, code)
	assert.Contains(t, stderr, "connection refused")
}
