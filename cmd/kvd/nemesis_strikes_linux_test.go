package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

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
	{name: "isolate leader", needs: "namespaces", majority: true,
		strike: func(w *world) func() { return w.cutLeader(true, true) }},
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
		strace := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(m.p.cmd.Process.Pid), "-e",
			"trace="+calls, "-e", "inject="+calls+":error=EIO")
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
