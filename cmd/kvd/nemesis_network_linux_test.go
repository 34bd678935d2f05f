package main

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// network is one namespace for each node, and this process's between them.
type network struct {
	t    *testing.T
	cuts atomic.Int64
}

func newNetwork(t *testing.T, nodes int) *network {
	n := &network{t: t}
	for i := range nodes {
		shell(t, fmt.Sprintf(`ip netns add %[1]s; ip link add %[1]s type veth peer name eth0 netns %[1]s; ip addr add %[2]s.1/24 dev %[1]s; ip link set %[1]s up
			ip -n %[1]s addr add %[2]s.2/24 dev eth0; ip -n %[1]s link set eth0 up; ip -n %[1]s link set lo up; ip -n %[1]s route add default via %[2]s.1`,
			n.name(i), strings.TrimSuffix(n.host(i), ".2")))
	}
	t.Cleanup(func() {
		n.heal()
		for i := range nodes {
			shell(t, "ip link del "+n.name(i)+"; ip netns del "+n.name(i))
		}
	})
	return n
}

func (n *network) name(i int) string { return fmt.Sprintf("kv%d", i) }
func (n *network) host(i int) string { return fmt.Sprintf("10.77.%d.2", i) }

// cut has what one node sends to another vanish.
func (n *network) cut(from, to int) {
	n.cuts.Add(1)
	shell(n.t, fmt.Sprintf("ip rule add pref 100 from %s to %s blackhole", n.host(from), n.host(to)))
}

// heal has everybody reach everybody.
func (n *network) heal() {
	for ; n.cuts.Load() > 0; n.cuts.Add(-1) {
		shell(n.t, "ip rule del pref 100")
	}
}

func shell(t *testing.T, script string) {
	out, err := exec.Command("sh", "-ec", script).CombinedOutput()
	require.NoError(t, err, "%s: %s", script, out)
}

// delays is a way to a node on which everything takes a time.
type delays struct{ by atomic.Int64 }

// newDelays listens, and hands on to an address.
func newDelays(t *testing.T, listen, to string) *delays {
	d := &delays{}
	l, err := net.Listen("tcp", listen)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				b, err := net.Dial("tcp", to)
				if err != nil {
					a.Close()
					return
				}
				go d.carry(a, b)
				d.carry(b, a)
			}()
		}
	}()
	return d
}

// carry hands on what a sends, in order, each piece after the time that it takes as it comes.
func (d *delays) carry(a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	type piece struct {
		bytes []byte
		due   time.Time
	}
	way := make(chan piece, 10_000)
	defer close(way)
	go func() {
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := b.Write(p.bytes); err != nil {
				a.Close()
				for range way {
				}
				return
			}
		}
		b.Close()
	}()
	for {
		bytes := make([]byte, 16<<10)
		n, err := a.Read(bytes)
		if n > 0 {
			way <- piece{bytes[:n], time.Now().Add(time.Duration(d.by.Load()))}
		}
		if err != nil {
			return
		}
	}
}
