package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"go/build"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// clock is a file in which a process finds by how many seconds its clock is wrong.
type clock []byte

func (c clock) set(seconds int64) { binary.NativeEndian.PutUint64(c, uint64(seconds)) }

// tells has a node tell the time, which must be wrong by so many seconds.
func (w *world) tells(m *member, by int64) {
	for w.ctx.Err() == nil {
		before := time.Now()
		answer, err := http.Get("http://" + m.web + "/livez")
		if err != nil {
			continue
		}
		answer.Body.Close()
		date, err := http.ParseTime(answer.Header.Get("Date"))
		if told := date.Unix() - by; err != nil || told < before.Unix() || told > time.Now().Unix() {
			w.t.Errorf("a node whose clock is wrong by %d s says at %v that it is %v: %v", by, before.UTC(), date, err)
		}
		return
	}
}

// prepareClocks gives each node a clock of its own: its binary is built with another time.Now. (What a preloaded
// library does to others does not work on a process that calls no libc.)
func (w *world) prepareClocks() {
	root := filepath.Join(build.Default.GOROOT, "src", "time")
	source, err := os.ReadFile(filepath.Join(root, "time.go"))
	require.NoError(w.t, err)
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	require.Contains(w.t, string(source), reads)
	dir := w.t.TempDir()
	require.NoError(w.t, os.WriteFile(dir+"/time.go",
		[]byte(strings.Replace(string(source), reads, reads+"\tsec += *skew\n", 1)), 0o600))
	require.NoError(w.t, os.WriteFile(dir+"/skew.go", []byte(skewSource), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(root, "time.go"): dir + "/time.go", filepath.Join(root, "skew.go"): dir + "/skew.go",
	}})
	require.NoError(w.t, err)
	require.NoError(w.t, os.WriteFile(dir+"/overlay.json", overlay, 0o600))
	out, err := exec.Command("go", "build", "-overlay", dir+"/overlay.json", "-o", dir+"/kvd", ".").CombinedOutput()
	require.NoError(w.t, err, "%s", out)
	for i, m := range w.all {
		file, err := os.Create(filepath.Join(dir, fmt.Sprint("clock-", i)))
		require.NoError(w.t, err)
		require.NoError(w.t, file.Truncate(8))
		c, err := unix.Mmap(int(file.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		require.NoError(w.t, err)
		require.NoError(w.t, file.Close())
		w.clocks = append(w.clocks, c)
		under := slices.Clone(m.command)
		if len(under) > 0 {
			under = under[:len(under)-1]
		}
		m.command = append(under, "env", "KV_CLOCK="+file.Name(), dir+"/kvd")
	}
}

const skewSource = `package time

import (
	"syscall"
	"unsafe"
)

var skew = func() *int64 {
	path, _ := syscall.Getenv("KV_CLOCK")
	fd, err := syscall.Open(path, syscall.O_RDONLY, 0)
	if err != nil {
		return new(int64)
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*int64)(unsafe.Pointer(&b[0]))
}()
`
