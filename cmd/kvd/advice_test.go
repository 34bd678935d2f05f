package main

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAdvice: what the system refuses is told with whose it is, and what to do.
func TestAdvice(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o710))
	user := os.Geteuid()
	whose := fmt.Sprintf(" (%s is of user %d, mode 0710, and this process is of user %d): give it to that user (chown -R), or run kvd as its owner", dir, user, user)
	refused := func(path string) error {
		return failed(exitFiles, fmt.Errorf("data folder: %w", &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES}))
	}
	port := func(errno syscall.Errno) error {
		return fmt.Errorf("--listen: %w", &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)})
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{err: fmt.Errorf("anything")},
		{err: &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOSPC}},
		{refused(dir), whose},
		{refused(filepath.Join(dir, "not", "there")), whose},
		{port(syscall.EADDRINUSE), ": another process listens there, or the address is named twice; port 0 takes a free one"},
		{port(syscall.EADDRNOTAVAIL), ": this machine does not have the address"},
		{port(syscall.EACCES), ": a port below 1024 needs CAP_NET_BIND_SERVICE; take a higher one"},
	} {
		require.Equal(t, tt.want, advice(tt.err), tt.err)
	}
}
