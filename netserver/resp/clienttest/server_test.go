package clienttest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// kvd is the server's program: that of `make build`, unless KVD_PROGRAM names another.
func kvd(t *testing.T) string {
	program := os.Getenv("KVD_PROGRAM")
	if program == "" {
		program = "../../../bin/kvd"
	}
	path, err := filepath.Abs(program)
	require.NoError(t, err)
	require.FileExists(t, path, "`make build` makes it")
	return path
}

// server is a kvd with a data folder, which can be started again.
type server struct {
	t    *testing.T
	addr string
	dir  string
	args []string // besides
	cmd  *exec.Cmd
}

func start(t *testing.T) *server {
	s := &server{t: t, addr: "127.0.0.1:0", dir: t.TempDir()}
	s.start()
	t.Cleanup(s.stop)
	return s
}

var listening = regexp.MustCompile(`listening on ([0-9.]+:[0-9]+)`)

// start starts it on the address that it had before.
func (s *server) start() {
	s.cmd = exec.Command(kvd(s.t), append([]string{"--listen", s.addr, "--data", s.dir, "--sync", "always"}, s.args...)...)
	stderr, err := s.cmd.StderrPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, s.cmd.Start())
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			s.addr = m[1]
			go io.Copy(io.Discard, stderr)
			return
		}
	}
	s.t.Fatal("kvd has ended")
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGCONT) // where a test has stopped it
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	require.NoError(s.t, s.cmd.Wait())
}
