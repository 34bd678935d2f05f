//go:build unix

package netserver_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/protocol"
)

// TestCrowd: a healthy client among thousands that are slow, silent, or do not listen. It gets all its answers, memory stays
// bounded, and when the others are gone everything they had is given back.
//
// With KV_SOAK=1 the crowd has its full size and stays for minutes.
func TestCrowd(t *testing.T) {
	size := struct {
		trickling, deaf, halfOpen, idle int
		stay                            time.Duration
	}{40, 8, 8, 200, time.Second}
	if soak {
		size.trickling, size.deaf, size.halfOpen, size.idle, size.stay = 1000, 200, 200, 10_000, 2*time.Minute
		// Both ends of a connection are in this process.
		size.idle = min(size.idle, (descriptorLimit(t)-4000)/2)
	}
	s := nettest.Start(t, nettest.Options{Config: netserver.Config{MaxConnections: 20_000}})
	key := []byte("k")
	healthy := s.Dial(t)
	healthy.Do(protocol.Set{Key: key, Value: make([]byte, 100)}.AppendTo(nil, 1))
	alone := latencies(healthy, size.stay/4, key)
	descriptors, memory := openDescriptors(t), heap()

	crowd := &crowd{t: t, end: make(chan struct{})}
	for range size.idle {
		crowd.dial(s)
	}
	for range size.halfOpen {
		crowd.dial(s).Send(ping(1, "never finished")[:13])
	}
	for range size.deaf {
		c := crowd.dial(s)
		crowd.do(func() bool {
			_, err := c.Conn.Write(ping(1, string(make([]byte, 10_000))))
			return err == nil
		})
	}
	for range size.trickling {
		c, at := crowd.dial(s), 0
		frame := ping(1, string(make([]byte, 1000)))
		pause := time.Duration(500+rand.IntN(1000)) * time.Millisecond
		crowd.every(pause, func() bool {
			_, err := c.Conn.Write(frame[at : at+1])
			at = (at + 1) % len(frame)
			return err == nil
		})
	}
	among := latencies(healthy, size.stay, key)
	grown := heap() - memory
	t.Logf("p99 alone %v, in the crowd %v; heap grew by %d KiB", p99(alone), p99(among), grown>>10)
	require.Less(t, grown, int64(64<<20+20<<10*(size.idle+size.trickling)+1<<20*size.deaf))

	close(crowd.end)
	for _, c := range crowd.conns {
		require.NoError(t, c.Close())
	}
	crowd.done.Wait()
	s.AwaitConnections(1)
	require.LessOrEqual(t, openDescriptors(t), descriptors)
}

// crowd runs clients until end is closed or they are cut off.
type crowd struct {
	t     *testing.T
	conns []*nettest.Conn
	end   chan struct{}
	done  sync.WaitGroup
}

func (c *crowd) dial(s *nettest.Server) *nettest.Conn {
	conn := s.Dial(c.t)
	c.conns = append(c.conns, conn)
	return conn
}

// do calls f again and again.
func (c *crowd) do(f func() bool) {
	c.done.Go(func() {
		for f() {
			select {
			case <-c.end:
				return
			default:
			}
		}
	})
}

// every calls f with pauses.
func (c *crowd) every(pause time.Duration, f func() bool) {
	tick := time.NewTicker(pause)
	c.done.Go(func() {
		defer tick.Stop()
		for f() {
			select {
			case <-c.end:
				return
			case <-tick.C:
			}
		}
	})
}

// latencies measures GETs for some time.
func latencies(c *nettest.Conn, d time.Duration, key []byte) (all []time.Duration) {
	get := protocol.Get{Key: key}.AppendTo(nil, 1)
	for start := time.Now(); time.Since(start) < d; {
		sent := time.Now()
		c.Do(get)
		all = append(all, time.Since(sent))
	}
	return all
}

func p99(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)*99/100]
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// openDescriptors counts this process's descriptors.
func openDescriptors(t *testing.T) (n int) {
	for fd := range descriptorLimit(t) {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) == nil {
			n++
		}
	}
	return n
}

func descriptorLimit(t *testing.T) int {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	return int(min(limit.Cur, 1<<20))
}
