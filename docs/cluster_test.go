package docs_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheClusterPage runs the sessions of docs/cluster.md, all of them in one shell: what it says of 127.0.0.1:7001 to
// 7005 and 7101 to 7105 is done at ports that are free.
func TestTheClusterPage(t *testing.T) {
	clients := freePorts(t, "")
	ports := strings.NewReplacer("127.0.0.1:700", clients, "127.0.0.1:710", freePorts(t, clients))
	all := session{where: "docs/cluster.md"}
	for _, p := range pages(t) {
		if p.path != all.where {
			continue
		}
		for _, b := range p.blocks {
			if b.kind != "console" {
				continue
			}
			for _, st := range parseSession(p, b).steps {
				st.typed = ports.Replace(st.typed)
				for i, line := range st.want {
					st.want[i] = ports.Replace(line)
				}
				all.steps = append(all.steps, st)
			}
		}
	}
	require.Greater(t, len(all.steps), 20)
	dir := t.TempDir()
	t.Cleanup(func() {
		pids, err := filepath.Glob(dir + "/pid*")
		require.NoError(t, err)
		for _, name := range pids {
			text, err := os.ReadFile(name)
			require.NoError(t, err)
			var pid int
			if _, err := fmt.Sscan(string(text), &pid); err != nil {
				continue
			}
			// One that goes on is of this test, which has failed.
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
			if exe == filepath.Join(bin, "kvd") {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			if t.Failed() {
				log, _ := os.ReadFile(strings.Replace(name, "/pid", "/log", 1))
				t.Logf("%s:\n%s", name, log)
			}
		}
	})
	all.run(t, "", "127.0.0.1:7071", dir)
}

// freePorts returns the beginning of five addresses that are free, with 1 to 5 behind it; not this one.
func freePorts(t *testing.T, not string) string {
	for range 1000 {
		_, port, err := net.SplitHostPort(freeAddress(t))
		require.NoError(t, err)
		prefix := "127.0.0.1:" + port[:len(port)-1]
		free := prefix != not
		for n := 1; n <= 5; n++ {
			l, err := net.Listen("tcp", fmt.Sprint(prefix, n))
			free = free && err == nil
			if err == nil {
				l.Close()
			}
		}
		if free {
			return prefix
		}
	}
	require.Fail(t, "no five ports in a row are free")
	return ""
}
