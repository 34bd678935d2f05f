package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func hello(w io.Writer) error {
	_, err := io.WriteString(w, "hello")
	return err
}

var errStop = errors.New("stop")

// half writes something and fails.
func half(w io.Writer) error {
	io.WriteString(w, "hel")
	return errStop
}

// dir is an empty folder, without links on the way to it.
func dir(t *testing.T) string {
	d, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return d
}

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

func mode(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(name)
	require.NoError(t, err)
	return info.Mode()
}

func TestANewFile(t *testing.T) {
	d := dir(t)
	require.NoError(t, Write(t.Context(), d+"/new", 0o600, hello))
	assert.Equal(t, "hello", content(t, d+"/new"))
	assert.Equal(t, fs.FileMode(0o600), mode(t, d+"/new"))
	assert.ErrorIs(t, Write(t.Context(), d+"/other", 0o600, half), errStop)
	left, err := os.ReadDir(d)
	require.NoError(t, err)
	assert.Len(t, left, 1, "nothing is left of the one that failed")
	assert.NoError(t, Write(t.Context(), d+"/"+strings.Repeat("n", 255), 0o600, hello), "a name as long as they may be")
}

func TestAFileIsReplacedWhole(t *testing.T) {
	file := dir(t) + "/old"
	require.NoError(t, os.WriteFile(file, []byte("old and longer"), 0o640))
	require.NoError(t, os.Chmod(file, 0o640))
	assert.ErrorIs(t, Write(t.Context(), file, 0o600, half), errStop)
	assert.Equal(t, "old and longer", content(t, file))
	require.NoError(t, Write(t.Context(), file, 0o600, func(w io.Writer) error {
		assert.Equal(t, "old and longer", content(t, file), "until all of it is there")
		return hello(w)
	}))
	assert.Equal(t, "hello", content(t, file))
	assert.Equal(t, fs.FileMode(0o640), mode(t, file), "its mode stays")
}

func TestALinkIsFollowed(t *testing.T) {
	d := dir(t)
	require.NoError(t, os.MkdirAll(d+"/a/b", 0o700))
	require.NoError(t, os.WriteFile(d+"/a/old", []byte("old"), 0o644))
	for link, to := range map[string]string{
		"relative": "a/old", "absolute": d + "/a/old", "twice": "relative", "dangling": "a/b/new", "folder": "a",
	} {
		require.NoError(t, os.Symlink(to, d+"/"+link))
	}
	require.NoError(t, os.Symlink("circle", d+"/circle"))
	require.NoError(t, os.MkdirAll(d+"/far/away", 0o700))
	require.NoError(t, os.Symlink("far/away", d+"/there"))
	require.NoError(t, os.Symlink("there/../up", d+"/up"))
	for name, file := range map[string]string{
		"relative": "a/old", "absolute": "a/old", "twice": "a/old", "dangling": "a/b/new", "folder/b/../old": "a/old",
		"there/../back": "far/back", "up": "far/up",
	} {
		require.NoError(t, os.WriteFile(d+"/a/old", []byte("old"), 0o644))
		require.NoError(t, Write(t.Context(), d+"/"+name, 0o600, hello), name)
		assert.Equal(t, "hello", content(t, d+"/"+file), name)
		assert.True(t, mode(t, d+"/"+file).IsRegular(), name)
	}
	for _, link := range []string{"relative", "absolute", "twice", "dangling"} {
		assert.Equal(t, fs.ModeSymlink, mode(t, d+"/"+link).Type(), "%s stays a link", link)
	}
	assert.ErrorIs(t, Write(t.Context(), d+"/circle", 0o600, hello), syscall.ELOOP)
	assert.ErrorIs(t, Write(t.Context(), d+"/folder", 0o600, hello), syscall.EISDIR)
}

func TestAFIFOIsWrittenThrough(t *testing.T) {
	fifo := dir(t) + "/fifo"
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	require.NoError(t, os.Symlink("fifo", fifo+"-link"))
	for _, name := range []string{fifo, fifo + "-link"} {
		read := make(chan string)
		go func() { read <- content(t, fifo) }()
		require.NoError(t, Write(t.Context(), name, 0o600, hello))
		assert.Equal(t, "hello", <-read)
		assert.Equal(t, fs.ModeNamedPipe, mode(t, fifo).Type())
	}
}

func TestAFIFOWithoutAReader(t *testing.T) {
	fifo := dir(t) + "/fifo"
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, Write(ctx, fifo, 0o600, hello), context.Canceled)
	f, err := os.OpenFile(fifo, os.O_RDWR, 0) // lets go of who waits for a reader
	require.NoError(t, err)
	defer f.Close()

	// A reader that never reads.
	ctx, cancel = context.WithCancel(t.Context())
	assert.ErrorIs(t, Write(ctx, fifo, 0o600, func(w io.Writer) error {
		cancel()
		_, err := w.Write(make([]byte, 1<<20))
		return err
	}), context.Canceled)
}

func TestASocketIsWrittenThrough(t *testing.T) {
	d, err := os.MkdirTemp("", "kv") // a socket's path is short
	require.NoError(t, err)
	defer os.RemoveAll(d)
	l, err := net.Listen("unix", d+"/socket")
	require.NoError(t, err)
	defer l.Close()
	read := make(chan string)
	go func() {
		conn, err := l.Accept()
		assert.NoError(t, err)
		b, err := io.ReadAll(conn)
		assert.NoError(t, err)
		read <- string(b)
	}()
	require.NoError(t, Write(t.Context(), d+"/socket", 0o600, hello))
	assert.Equal(t, "hello", <-read)
	assert.Equal(t, fs.ModeSocket, mode(t, d+"/socket").Type())
}

// An open file is written where it stands, as if it were stdout: also one that no name could open again.
func TestAnOpenFileIsWrittenThrough(t *testing.T) {
	d := dir(t)
	f, err := os.OpenFile(d+"/appended", os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("before, ")
	require.NoError(t, err)
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer syscall.Close(pair[1])
	for _, folder := range []string{"/dev/fd/", "/proc/self/fd/"} {
		require.NoError(t, Write(t.Context(), folder+fmt.Sprint(f.Fd()), 0o600, hello))
		require.NoError(t, Write(t.Context(), folder+fmt.Sprint(pair[0]), 0o600, hello))
	}
	assert.Equal(t, "before, hellohello", content(t, d+"/appended"))
	syscall.Close(pair[0])
	socket := os.NewFile(uintptr(pair[1]), "socket")
	b, err := io.ReadAll(socket)
	require.NoError(t, err)
	assert.Equal(t, "hellohello", string(b))
	assert.ErrorIs(t, Write(t.Context(), "/dev/fd/987654", 0o600, hello), syscall.EBADF)
}

// The device is one that no fault of ours could replace: nothing can be made beside it.
func TestADeviceIsWrittenThrough(t *testing.T) {
	terminal, device, err := pty.Open()
	require.NoError(t, err)
	defer terminal.Close()
	defer device.Close()
	link := dir(t) + "/link"
	require.NoError(t, os.Symlink(device.Name(), link))
	for _, name := range []string{device.Name(), link} {
		require.NoError(t, Write(t.Context(), name, 0o600, hello))
		b := make([]byte, len("hello"))
		_, err := io.ReadFull(terminal, b)
		require.NoError(t, err)
		assert.Equal(t, "hello", string(b))
		assert.NotZero(t, mode(t, device.Name())&fs.ModeDevice)
	}
}

func TestNamesThatCannotBeWritten(t *testing.T) {
	d := dir(t)
	require.NoError(t, os.WriteFile(d+"/file", nil, 0o600))
	for _, name := range []string{"", d, d + "/", d + "/nowhere/file", d + "/new/", d + "/file/", d + "/file/new", "/proc/new"} {
		err := Write(t.Context(), name, 0o600, func(io.Writer) error {
			assert.Fail(t, "it is asked for what can't be written", name)
			return nil
		})
		assert.ErrorAs(t, err, new(*NameError), name)
		if name != "" {
			assert.ErrorContains(t, err, name)
		}
	}
}
