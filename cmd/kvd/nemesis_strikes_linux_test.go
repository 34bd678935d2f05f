package main

import (
	"bytes"
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
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kv/protocol"
	"kv/protocol/client"
)

// nemesis is what strikes a cluster, and heals it.
type nemesis struct {
	name     string
	needs    string       // "namespaces", or "root"; empty: nothing
	prepare  func(*world) // before the nodes start; nil: nothing
	strike   func(*world) (heal func())
	hold     int  // for about how many milliseconds it is left so; 0: 2000
	majority bool // a majority of nodes is there, and reaches each other, all the while
	skews    bool // clocks differ
}

func nemesisNamed(name string) nemesis {
	return nemeses[slices.IndexFunc(nemeses, func(n nemesis) bool { return n.name == name })]
}

var nemeses = []nemesis{
	{name: "kill", strike: (*world).strikeKill, hold: 1000, majority: true},
	{name: "stop", strike: (*world).strikeStop, majority: true},
	{name: "kill and stop", strike: func(w *world) func() {
		if w.intN(2) == 0 {
			return w.strikeKill()
		}
		return w.strikeStop()
	}, hold: 1000, majority: true},
	{name: "kill all", hold: 300, strike: func(w *world) func() {
		all := w.running()
		for _, m := range all {
			w.kill(m)
		}
		return func() {
			for _, m := range all {
				m.start()
			}
		}
	}},
	{name: "rolling restart", majority: true, strike: func(w *world) func() {
		for i, m := range w.all {
			if w.busy[i].Lock(); m.running() && w.ctx.Err() == nil {
				m.signal(syscall.SIGTERM)
				m.start()
				for w.leads() < 0 {
				}
			}
			w.free(i)
		}
		return nil
	}},
	{name: "transfer", majority: true, strike: func(w *world) func() {
		for range 10 {
			w.transfer(w.all[w.intN(len(w.all))])
			w.pause(100, 100)
		}
		return nil
	}},
	{name: "isolate leader", needs: "namespaces", majority: true, strike: func(w *world) func() { return w.cutLeader(true, true) }},
	{name: "deaf leader", needs: "namespaces", majority: true, strike: func(w *world) func() { return w.cutLeader(true, false) }},
	{name: "mute leader", needs: "namespaces", majority: true, strike: func(w *world) func() { return w.cutLeader(false, true) }},
	{name: "followers apart", needs: "namespaces", majority: true, strike: func(w *world) func() {
		leads := w.leads()
		followers := slices.DeleteFunc(w.some(), func(i int) bool { return i == leads })
		w.apart(followers[0], followers[1])
		return w.net.heal
	}},
	{name: "split", needs: "namespaces", majority: true, strike: func(w *world) func() {
		all := w.some()
		for _, a := range all[:len(all)/2] {
			for _, b := range all[len(all)/2:] {
				w.apart(a, b)
			}
		}
		return w.net.heal
	}},
	{name: "rotating", needs: "namespaces", majority: true, strike: func(w *world) func() { // each reaches a majority, each another one
		for range 3 {
			all := w.some()
			for i, a := range all {
				for j := i + 2; j < len(all); j++ {
					if i != 0 || j != len(all)-1 || len(all) == 3 {
						w.apart(a, all[j])
					}
				}
			}
			w.pause(800, 800)
			w.net.heal()
		}
		return nil
	}},
	{name: "slow network", prepare: (*world).prepareDelays, majority: true, strike: func(w *world) func() {
		for _, d := range w.delays {
			d.by.Store(int64(w.intN(100)) * int64(time.Millisecond))
		}
		return func() {
			for _, d := range w.delays {
				d.by.Store(0)
			}
		}
	}},
	{name: "frozen disk", needs: "root", prepare: (*world).prepareDisks, hold: 8000, majority: true, strike: func(w *world) func() {
		at := w.pick()
		m := w.all[at]
		shell(w.t, "fsfreeze -f "+m.dir)
		return func() {
			shell(w.t, "fsfreeze -u "+m.dir)
			w.revive(at)
		}
	}},
	{name: "full disk", needs: "root", prepare: (*world).prepareDisks, hold: 3000, majority: true, strike: func(w *world) func() {
		at := w.pick()
		m := w.all[at]
		balloon := filepath.Dir(m.dir) + "/balloon"
		// Until there is no room. That many bytes written would hold up the disks of the others, which are one with it below.
		exec.Command("sh", "-c", "for size in 1G 100M 10M 1M 100K 4K; do while fallocate -o $(stat -c %s "+balloon+" 2>/dev/null || echo 0) -l $size "+balloon+"; do :; done; done").Run()
		w.burden()
		return func() {
			shell(w.t, "rm "+balloon)
			w.revive(at)
		}
	}},
	{name: "failing sync", needs: "root", hold: 2000, majority: true, strike: func(w *world) func() {
		at := w.pick()
		m := w.all[at]
		calls := "fsync,fdatasync,sync_file_range"
		strace := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(m.p.cmd.Process.Pid), "-e", "trace="+calls, "-e", "inject="+calls+":error=EIO")
		require.NoError(w.t, strace.Start())
		return func() {
			strace.Process.Signal(syscall.SIGINT)
			strace.Wait()
			w.revive(at)
		}
	}},
	{name: "clocks", prepare: (*world).prepareClocks, hold: 3000, majority: true, skews: true, strike: func(w *world) func() {
		for range 1 + w.intN(3) { // one after the other jumps, the leader among them
			at, by := w.pick(), []int64{3600, -3600, 3, -3}[w.intN(4)]
			w.clocks[at].set(by)
			w.tells(w.all[at], by)
			if s, err := w.status(w.all[at]); err == nil && by == 3600 && s.Leader == s.Node {
				if c, err := w.all[at].dial(time.Second); err == nil { // versions tell that the clock is what it is told to be
					version, err := c.Set(w.t.Context(), protocol.Set{Key: []byte("clock")})
					if ahead := time.Until(time.UnixMicro(int64(version))); err == nil && c.Leader() == w.all[at].listen && ahead < time.Hour/2 {
						w.t.Errorf("a version of who leads with a clock an hour ahead is only %v ahead", ahead)
					}
					c.Close()
				}
			}
			w.free(at)
			w.pause(100, 500)
		}
		return func() {
			for _, c := range w.clocks {
				c.set(0)
			}
		}
	}},
}

// burden writes more than a node's log has room for ahead.
func (w *world) burden() {
	c, err := client.Dial(w.ctx, w.addresses(), w.all[0].options(time.Second))
	if err != nil {
		return
	}
	defer c.Close()
	value := make([]byte, 128<<10)
	for range 80 {
		c.Set(w.ctx, protocol.Set{Key: []byte("burden"), Value: value})
	}
}

func (w *world) strikeKill() func() {
	at := w.pick()
	w.kill(w.all[at])
	return func() {
		w.all[at].start()
		w.free(at)
	}
}

func (w *world) strikeStop() func() {
	at := w.pick()
	p := w.all[at].p
	p.cmd.Process.Signal(syscall.SIGSTOP)
	return func() {
		p.cmd.Process.Signal(syscall.SIGCONT)
		w.free(at)
	}
}

// kill ends a node that may have ended by itself.
func (w *world) kill(m *member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p != nil {
		m.p.cmd.Process.Kill()
		m.p.cmd.Wait()
		m.p = nil
	}
}

// revive starts a node again if it has ended by itself, or is about to, and gives it back.
func (w *world) revive(at int) {
	m := w.all[at]
	for range 20 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.p.cmd.Process.Pid))
		if state := stat[bytes.LastIndexByte(stat, ')')+2:]; err != nil || state[0] == 'Z' {
			w.kill(m)
			w.note("a node had ended by itself")
			m.start()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	w.free(at)
}

func (w *world) running() []*member {
	return slices.DeleteFunc(slices.Clone(w.all), func(m *member) bool { return !m.running() })
}

// some are the nodes that run, in any order.
func (w *world) some() (all []int) {
	for i, m := range w.all {
		if m.running() {
			all = append(all, i)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (w *world) apart(a, b int) {
	w.net.cut(a, b)
	w.net.cut(b, a)
}

// cutLeader has the leader hear nobody any more, or nobody it, or both. Clients still reach it.
func (w *world) cutLeader(deaf, mute bool) func() {
	leads := w.leads()
	for i := range w.all {
		if leads < 0 || i == leads {
			continue
		}
		if deaf {
			w.net.cut(i, leads)
		}
		if mute {
			w.net.cut(leads, i)
		}
	}
	return w.net.heal
}

// prepareDelays puts a way on which everything takes time before each node.
func (w *world) prepareDelays() {
	for i, m := range w.all {
		at := m.peer
		if m.peer = freeAddress(w.t); w.net != nil {
			m.peer = strings.TrimSuffix(w.net.host(i), ".2") + ".1:7071"
		}
		m.args = append(m.args, "--peer-listen", at, "--advertise", m.listen+","+m.peer)
		w.delays = append(w.delays, newDelays(w.t, m.peer, at))
	}
}

// prepareDisks gives each node a file system of its own.
func (w *world) prepareDisks() {
	for _, m := range w.all {
		image := filepath.Join(w.t.TempDir(), "disk")
		shell(w.t, fmt.Sprintf("truncate -s 400M %s; mkfs.ext4 -q %[1]s; mount -o loop %[1]s %s; mkdir %[2]s/data", image, m.dir))
		disk := m.dir
		w.t.Cleanup(func() { shell(w.t, "umount "+disk) })
		m.dir += "/data"
	}
}

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
	require.NoError(w.t, os.WriteFile(dir+"/time.go", []byte(strings.Replace(string(source), reads, reads+"\tsec += *skew\n", 1)), 0o600))
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

// changeMembers changes who belongs to the cluster until the clients have ended. No node loses what it has while
// another has not got all yet that it lost: that would be a majority's disks.
func (w *world) changeMembers() {
	for {
		if w.pause(500, 1000); w.ctx.Err() != nil {
			return
		}
		switch w.intN(3) {
		case 0:
			w.transfer(w.all[w.intN(len(w.all))])
		case 1:
			at := w.pick()
			m := w.all[at]
			before, _ := w.status(m)
			w.kill(m)
			w.empty(m)
			m.start()
			w.await(m, before.Node)
			w.free(at)
		case 2:
			for i, m := range w.all {
				if w.busy[i].TryLock() {
					if !m.running() {
						m.start()
						w.await(m, 0)
						w.free(i)
						w.remove()
						break
					}
					w.free(i)
				}
			}
		}
	}
}

func (w *world) empty(m *member) {
	require.NoError(w.t, os.RemoveAll(m.dir))
	require.NoError(w.t, os.Mkdir(m.dir, 0o755))
}

// await waits until a node is a voter, and another is a member no more; or until the clients have ended.
func (w *world) await(m *member, gone uint64) {
	for w.ctx.Err() == nil {
		s, err := w.status(m)
		voter := false
		for _, one := range s.Members {
			voter = voter || one.ID == s.Node && one.Role == protocol.Voter
			if one.ID == gone {
				err = fmt.Errorf("%d is a member", gone)
			}
		}
		if err == nil && voter {
			return
		}
		w.pause(50, 50)
	}
}

// remove has a node be a member no more, and ends it.
func (w *world) remove() {
	at := w.pick()
	defer w.free(at)
	m := w.all[at]
	s, err := w.status(m)
	if err != nil {
		return
	}
	for w.ctx.Err() == nil {
		if w.leads() == at {
			w.transfer(w.all[w.intN(len(w.all))])
		}
		w.change(protocol.Member{Change: protocol.MemberRemove, ID: s.Node})
		for i, other := range w.all { // one that does not lead may tell of the past
			now, err := w.status(other)
			if i != at && err == nil && now.Leader == now.Node && !slices.ContainsFunc(now.Members, func(one protocol.ClusterMember) bool { return one.ID == s.Node }) {
				w.kill(m)
				w.empty(m)
				return
			}
		}
		w.pause(100, 100)
	}
}

// transfer has a node lead, if it can.
func (w *world) transfer(to *member) {
	if s, err := w.status(to); err == nil {
		w.change(protocol.Member{Change: protocol.MemberTransfer, ID: s.Node})
	}
}

// addresses are those of all nodes.
func (w *world) addresses() string {
	var all []string
	for _, m := range w.all {
		all = append(all, m.listen)
	}
	return strings.Join(all, ",")
}

// change asks whoever leads for a change, which may not be possible now.
func (w *world) change(q protocol.Member) {
	c, err := client.Dial(w.t.Context(), w.addresses(), w.all[0].options(3*time.Second))
	if err == nil {
		c.Member(w.t.Context(), q)
		c.Close()
	}
}
