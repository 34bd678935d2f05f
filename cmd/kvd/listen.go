package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"kv/netserver"
	"kv/store/vfs"
)

// addresses are those that an option names, each HOST:PORT, or unix: and the path of a socket.
type addresses struct {
	list  []string
	given bool // list is what Set was told, not the default
}

// Set adds what text names, separated by commas; the first time it takes the place of the default.
func (a *addresses) Set(text string) error {
	var list []string
	if a.given {
		list = a.list
	}
	for address := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(address) == "" {
			return errors.New("the value is empty: name one, or leave the option out")
		}
		list = append(list, address)
	}
	a.list, a.given = list, true
	return nil
}

// String returns the addresses as Set reads them.
func (a *addresses) String() string { return strings.Join(a.list, ",") }

// Type is the flag's type in --help.
func (a *addresses) Type() string { return "string" }

// fileMode is the mode of a file as a flag, in octal.
type fileMode fs.FileMode

// Set takes a mode.
func (m *fileMode) Set(text string) error {
	n, err := strconv.ParseUint(text, 8, 16)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is not a mode such as 0600 (the server's user alone) or 0660 (its group too)", text)
	}
	*m = fileMode(n)
	return nil
}

// String returns the mode as Set reads it.
func (m *fileMode) String() string { return fmt.Sprintf("%04o", uint16(*m)) }

// Type is the flag's type in --help.
func (m *fileMode) Type() string { return "mode" }

// unixPath is the path of an address that is a Unix socket; "" if it is none.
func unixPath(address string) (path string, ok bool) {
	if path, ok = strings.CutPrefix(address, "unix:"); ok {
		return path, true
	}
	return "", false
}

// maxUnixPath is how many bytes the path of a Unix socket may have on every system.
const maxUnixPath = 103

func checkUnix(flag, address string) error {
	path, _ := unixPath(address)
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	switch {
	case address == "unix:":
		return fmt.Errorf("%s %q: the path of the socket is missing, as in unix:/run/kv/kv.sock", flag, address)
	case strings.HasPrefix(address, "unix:@"), strings.ContainsRune(path, 0):
		return fmt.Errorf("%s %q: a socket without a file has no mode that says who may connect; name a path, as in unix:/run/kv/kv.sock", flag, address)
	case len(path) > maxUnixPath:
		return fmt.Errorf("%s %q: a socket's path has %d bytes at most, and this has %d", flag, address, maxUnixPath, len(path))
	}
	return nil
}

// listen takes all addresses of --listen, or none.
func listen(o options) (listeners []netserver.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(listeners)
		}
	}()
	for _, address := range o.listen.list {
		l, err := listenOn(address, o.unixMode)
		if err != nil {
			return listeners, failed(exitListen, fmt.Errorf("--listen: %w", err))
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeAll(listeners []netserver.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

func listenOn(address string, mode fileMode) (netserver.Listener, error) {
	if path, ok := unixPath(address); ok {
		return listenUnix(path, fs.FileMode(mode))
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

// unixListener is a Unix socket with its lock, which no other server has at the same time.
type unixListener struct {
	*net.UnixListener
	lock   io.Closer
	unlock sync.Once
}

// Close closes and removes the socket.
func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	l.unlock.Do(func() { l.lock.Close() })
	return err
}

// shownAddress is the address of a listener as --listen, and clients, have it.
func shownAddress(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}

// listenUnix listens on a Unix socket, which has this mode from its first moment. It removes a socket that a process
// which is gone has left, and nothing else.
func listenUnix(path string, mode fs.FileMode) (netserver.Listener, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	lock, err := lockSocket(path + ".lock")
	if err != nil {
		return nil, err
	}
	l, err := bindUnix(path, mode)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &unixListener{UnixListener: l, lock: lock}, nil
}

func bindUnix(path string, mode fs.FileMode) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// On Linux the socket's file gets this mode, less the umask. Elsewhere the socket has none yet.
		return raw.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), uint32(mode)) })
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil { // what the umask took
		l.Close()
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there, and is no socket: it is left as it is", path)
	}
	nc, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		nc.Close()
		return fmt.Errorf("%s: another process listens on it", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s is there, and it can't be told whether somebody listens on it: %w", path, err)
	}
	return os.Remove(path)
}

// lockSocket takes the lock of a socket, for as long as the process lives or until it is closed, which removes the file too.
func lockSocket(name string) (io.Closer, error) {
	for {
		lock, err := vfs.OS.Lock(name)
		if errors.Is(err, vfs.ErrLocked) {
			return nil, fmt.Errorf("%s: another server listens on the socket beside it", name)
		}
		if err != nil {
			return nil, err
		}
		f := lock.(*os.File)
		locked, err := f.Stat()
		if err != nil {
			lock.Close()
			return nil, err
		}
		if there, err := os.Stat(name); err == nil && os.SameFile(locked, there) {
			return socketLock{f}, nil
		}
		lock.Close() // somebody has removed it in between
	}
}

// socketLock is the lock of a socket.
type socketLock struct{ *os.File }

// Close removes the lock's file, and then lets the lock go.
func (l socketLock) Close() error { return errors.Join(os.Remove(l.Name()), l.File.Close()) }
