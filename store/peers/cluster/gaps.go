package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kv/protocol"
	"kv/protocol/client"
)

// writers write without end, each with a pool that knows all nodes, as a program would that is served by the cluster.
// What counts is how long each of them waits at most from one write that was taken to the next; there is a pause of
// pace between them.
type writers struct {
	wg   sync.WaitGroup
	stop chan struct{}

	mu      sync.Mutex
	last    []time.Time
	longest time.Duration
	failed  int
}

func startWriters(s *Servers, n int, patience, pace time.Duration) *writers {
	var addresses []string
	for _, x := range s.All {
		addresses = append(addresses, x.Address)
	}
	w := &writers{stop: make(chan struct{}), last: make([]time.Time, n)}
	for i := range n {
		w.last[i] = time.Now()
		w.wg.Go(func() {
			p := client.NewPool(strings.Join(addresses, ","), client.PoolOptions{})
			defer p.Close()
			for {
				select {
				case <-w.stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				_, err := p.Set(ctx, protocol.Set{Key: fmt.Appendf(nil, "writer:%d", i), Value: []byte("value")})
				cancel()
				now := time.Now()
				w.mu.Lock()
				if err != nil {
					w.failed++
				} else {
					w.longest = max(w.longest, now.Sub(w.last[i]))
					w.last[i] = now
				}
				w.mu.Unlock()
				if err != nil {
					time.Sleep(5 * time.Millisecond)
				} else {
					time.Sleep(pace)
				}
			}
		})
	}
	return w
}

// begin begins to look for the longest wait anew.
func (w *writers) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest, w.failed = 0, 0
}

// all waits until each writer has written since t.
func (w *writers) all(t time.Time) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		behind := slices.ContainsFunc(w.last, func(x time.Time) bool { return x.Before(t) })
		w.mu.Unlock()
		switch {
		case !behind:
			return nil
		case time.Now().After(end):
			return errors.New("a writer has written nothing for 30 s")
		}
	}
}

// end ends them.
func (w *writers) end() (longest time.Duration, failed int) {
	close(w.stop)
	w.wg.Wait()
	return w.longest, w.failed
}

// printGaps prints the longest waits that something has caused.
func printGaps(what string, gaps []time.Duration) {
	slices.Sort(gaps)
	fmt.Printf("| | times | p50 | max |\n|---|---|---|---|\n| %s | %d | %.0f ms | %.0f ms |\n", what, len(gaps),
		gaps[len(gaps)/2].Seconds()*1000, gaps[len(gaps)-1].Seconds()*1000)
}

// three starts three nodes.
func three(o *options, what string) (*Servers, error) {
	s, err := kvds(o.kvd, filepath.Join(o.dir, what), 3, true)
	if err != nil {
		return nil, err
	}
	return s, s.Start()
}

const gapWriters = 8

// failover kills the leader, starts it again, and waits until it has caught up, twenty times.
func failover(o *options) error {
	s, err := three(o, "failover")
	if s != nil {
		defer s.Stop()
	}
	if err != nil {
		return err
	}
	w := startWriters(s, gapWriters, 5*time.Second, 2*time.Millisecond) // they are to wait for the cluster, and not for a processor
	defer w.end()
	var gaps []time.Duration
	for range 20 {
		time.Sleep(500 * time.Millisecond)
		leader, err := s.Leader()
		if err != nil {
			return err
		}
		w.begin()
		leader.Stop(os.Kill)
		if err := w.all(time.Now().Add(100 * time.Millisecond)); err != nil {
			return err
		}
		w.mu.Lock()
		gaps = append(gaps, w.longest)
		w.mu.Unlock()
		if err := leader.Start(); err != nil {
			return err
		}
		if err := s.caughtUp(leader); err != nil {
			return err
		}
	}
	printGaps("kill -9 of the leader, until each client has written again", gaps)
	return nil
}

// caughtUp waits until x has published what the leader has committed by now.
func (s *Servers) caughtUp(x *Server) error {
	want := uint64(0)
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if want == 0 {
			if leader, err := s.Leader(); err == nil && leader != x {
				if st, err := leader.Status(); err == nil {
					want = st.Committed
				}
			}
		}
		if st, err := x.Status(); err == nil && want > 0 && st.Published >= want {
			return nil
		}
	}
	return errors.New("a node has not caught up within a minute")
}

// transfer hands leadership from node to node.
func transfer(o *options) error {
	s, err := three(o, "transfer")
	if s != nil {
		defer s.Stop()
	}
	if err != nil {
		return err
	}
	w := startWriters(s, gapWriters, 5*time.Second, 0)
	var gaps []time.Duration
	failed := 0
	for i := range 30 {
		time.Sleep(100 * time.Millisecond)
		to := s.All[i%3]
		st, err := to.Status()
		if err != nil {
			return err
		}
		if st.Leader == st.Node {
			continue
		}
		w.begin()
		if out, err := exec.Command(filepath.Join(filepath.Dir(o.kvd), "kvc"), "--addr", s.All[0].Address+","+s.All[1].Address+","+s.All[2].Address,
			"cluster", "transfer", fmt.Sprint(st.Node)).CombinedOutput(); err != nil {
			return fmt.Errorf("transfer: %w: %s", err, out)
		}
		if err := w.all(time.Now().Add(50 * time.Millisecond)); err != nil {
			return err
		}
		w.mu.Lock()
		gaps = append(gaps, w.longest)
		failed += w.failed
		w.mu.Unlock()
	}
	w.end()
	printGaps(fmt.Sprintf("transfer of leadership; %d of the clients' requests failed", failed), gaps)
	return nil
}

// catchUp has a follower miss a million writes.
func catchUp(o *options) error {
	s, err := three(o, "catchUp")
	if s != nil {
		defer s.Stop()
	}
	if err != nil {
		return err
	}
	const missed = 1_000_000
	fmt.Printf("| | took |\n|---|---|\n")
	for range min(o.rounds, 3) {
		leader, err := s.Leader()
		if err != nil {
			return err
		}
		behind := s.All[0]
		if behind == leader {
			behind = s.All[1]
		}
		behind.Stop(os.Interrupt)
		if _, err := (Load{Protocol: s.Protocol, Servers: []string{leader.Address}, Clients: 64, Depth: 64, Sets: true, Keys: missed, Value: 32, Count: missed, InTurn: true}).Run(); err != nil {
			return err
		}
		start := time.Now()
		if err := behind.Start(); err != nil {
			return err
		}
		up := time.Duration(0)
		for end := start.Add(20 * time.Second); up == 0 && time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
			if _, err := behind.Status(); err == nil {
				up = time.Since(start)
			}
		}
		if err := s.caughtUp(behind); err != nil {
			return err
		}
		fmt.Printf("| from the start of the process to its first answer, and until it has all | %.2f s, %.2f s |\n", up.Seconds(), time.Since(start).Seconds())
	}
	return nil
}

// frozen freezes the file system of the leader, and of nobody else, for eight seconds.
func frozen(o *options) error {
	s, err := kvds(o.kvd, filepath.Join(o.dir, "frozen"), 3, true)
	if err != nil {
		return err
	}
	image, mount := filepath.Join(o.dir, "image"), s.All[0].Dir
	run := func(args ...string) error {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	if err := os.MkdirAll(mount, 0o755); err != nil {
		return err
	}
	for _, c := range [][]string{{"truncate", "-s", "1G", image}, {"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, mount}} {
		if err := run(c...); err != nil {
			return err
		}
	}
	defer run("umount", mount)
	defer s.Stop()
	s.All[0].args = slices.Clone(s.All[0].args)
	for i, a := range s.All[0].args {
		if a == "--data" {
			s.All[0].args[i+1] = filepath.Join(mount, "data")
		}
	}
	if err := s.Start(); err != nil {
		return err
	}
	st, err := s.All[0].Status()
	if err != nil {
		return err
	}
	if st.Leader != st.Node {
		if err := run(filepath.Join(filepath.Dir(o.kvd), "kvc"), "--addr", s.All[0].Address+","+s.All[1].Address+","+s.All[2].Address, "cluster", "transfer", fmt.Sprint(st.Node)); err != nil {
			return err
		}
	}
	w := startWriters(s, gapWriters, 500*time.Millisecond, 0)
	time.Sleep(time.Second)
	w.begin()
	if err := run("fsfreeze", "-f", mount); err != nil {
		return err
	}
	time.Sleep(8 * time.Second)
	err = run("fsfreeze", "-u", mount)
	time.Sleep(time.Second)
	longest, failed := w.end()
	if err != nil {
		return err
	}
	printGaps(fmt.Sprintf("the disk of the leader frozen for 8 s; %d requests failed", failed), []time.Duration{longest})
	return nil
}
