package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kv/protocol"
	"kv/protocol/client"
)

// Server is a process under measurement.
type Server struct {
	Dir     string
	Address string // for clients
	Peer    string // for the others

	args []string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// Servers are one cluster.
type Servers struct {
	Kind     string // kvd, etcd, Redis, or one of these with what sets it apart behind it
	Protocol Protocol
	All      []*Server
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// newServers prepares n servers below dir, and starts none.
func newServers(kind, dir string, n int) (*Servers, error) {
	s := &Servers{Kind: kind}
	for i := range n {
		x := &Server{Dir: filepath.Join(dir, strconv.Itoa(i+1))}
		for _, a := range []*string{&x.Address, &x.Peer} {
			var err error
			if *a, err = freeAddress(); err != nil {
				return nil, err
			}
		}
		s.All = append(s.All, x)
	}
	return s, nil
}

// kvds are nodes of kvd; one alone is no cluster unless member says so.
func kvds(program, dir string, n int, member bool, more ...string) (*Servers, error) {
	s, err := newServers("kvd", dir, n)
	if err != nil {
		return nil, err
	}
	s.Protocol = frames{}
	var peers []string
	for _, x := range s.All {
		peers = append(peers, x.Peer)
	}
	for _, x := range s.All {
		x.args = append([]string{program, "--listen", x.Address}, more...)
		if member {
			x.args = append(x.args, "--data", x.Dir, "--sync", "always", "--peer-listen", x.Peer, "--peers", strings.Join(peers, ","))
		}
	}
	return s, nil
}

// etcds are nodes of etcd, which keep nothing but what is newest.
func etcds(program, dir string) (*Servers, error) {
	s, err := newServers("etcd", dir, 3)
	if err != nil {
		return nil, err
	}
	s.Protocol = etcd{}
	var peers []string
	for i, x := range s.All {
		peers = append(peers, fmt.Sprintf("n%d=http://%s", i+1, x.Peer))
	}
	for i, x := range s.All {
		x.args = []string{program, "--name", fmt.Sprintf("n%d", i+1), "--data-dir", x.Dir, "--listen-client-urls", "http://" + x.Address,
			"--advertise-client-urls", "http://" + x.Address, "--listen-peer-urls", "http://" + x.Peer, "--initial-advertise-peer-urls", "http://" + x.Peer,
			"--initial-cluster", strings.Join(peers, ","), "--initial-cluster-state", "new", "--log-level", "error", "--quota-backend-bytes", "8589934592"}
	}
	return s, nil
}

// redises are a Redis and two replicas; without appendonly nothing is on disk.
func redises(program, dir string, appendonly bool) (*Servers, error) {
	s, err := newServers("Redis", dir, 3)
	if err != nil {
		return nil, err
	}
	s.Protocol = redis{wait: 1}
	host, port, _ := net.SplitHostPort(s.All[0].Address)
	for i, x := range s.All {
		_, own, _ := net.SplitHostPort(x.Address)
		x.args = []string{program, "--port", own, "--bind", host, "--dir", x.Dir, "--save", "", "--repl-diskless-sync-delay", "0"}
		if appendonly {
			x.args = append(x.args, "--appendonly", "yes", "--appendfsync", "always")
		}
		if i > 0 {
			x.args = append(x.args, "--replicaof", host+" "+port)
		}
	}
	return s, nil
}

// Start starts all of them, and waits until they take writes.
func (s *Servers) Start() error {
	for _, x := range s.All {
		if err := x.Start(); err != nil {
			return err
		}
	}
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, x := range s.All {
			select {
			case <-x.done:
				log, _ := os.ReadFile(x.log())
				return fmt.Errorf("%s has ended:\n%s", strings.Join(x.args, " "), log)
			default:
			}
		}
		if err = s.ready(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s does not take writes: %w", s.Kind, err)
}

// ready reports whether a write is taken.
func (s *Servers) ready() error {
	leader, err := s.Leader()
	if err != nil {
		return err
	}
	_, err = Load{Protocol: s.Protocol, Servers: []string{leader.Address}, Clients: 1, Depth: 1, Sets: true, Keys: 1, Value: 1, Count: 1}.Run()
	return err
}

// Leader returns who takes writes.
func (s *Servers) Leader() (*Server, error) {
	if len(s.All) == 1 || s.Protocol == (redis{wait: 1}) {
		return s.All[0], nil
	}
	if s.Protocol == (etcd{}) {
		for _, x := range s.All {
			if x.leadsEtcd() {
				return x, nil
			}
		}
		return nil, errors.New("no node leads")
	}
	for _, x := range s.All {
		if st, err := x.Status(); err == nil && st.Leader != 0 && st.Leader == st.Node {
			return x, nil
		}
	}
	return nil, errors.New("no node leads")
}

// leadsEtcd asks a node of etcd whether it leads.
func (x *Server) leadsEtcd() bool {
	answer, err := http.Post("http://"+x.Address+"/v3/maintenance/status", "application/json", strings.NewReader("{}"))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	var status struct {
		Leader string
		Header struct {
			Member string `json:"member_id"`
		}
	}
	err = json.NewDecoder(answer.Body).Decode(&status)
	return err == nil && status.Leader != "" && status.Leader == status.Header.Member
}

// Status asks a kvd how its cluster is.
func (x *Server) Status() (protocol.ClusterResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c, err := client.Dial(ctx, x.Address, client.Options{})
	if err != nil {
		return protocol.ClusterResponse{}, err
	}
	defer c.Close()
	return c.Cluster(ctx)
}

// log is where the server's output goes: not into its folder, which may stand on a disk that is frozen.
func (x *Server) log() string { return x.Dir + ".log" }

// Start starts the server, on what its folder has.
func (x *Server) Start() error {
	if err := os.MkdirAll(x.Dir, 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(x.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	x.cmd = exec.Command(x.args[0], x.args[1:]...)
	x.cmd.Stdout, x.cmd.Stderr = out, out
	if err := x.cmd.Start(); err != nil {
		return err
	}
	x.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		cmd.Wait()
		close(done)
	}(x.cmd, x.done)
	return nil
}

// Stop ends the server at once, and waits for that.
func (x *Server) Stop(signal os.Signal) {
	if x.cmd != nil {
		x.cmd.Process.Signal(signal)
		<-x.done
	}
}

// Stop ends all of them.
func (s *Servers) Stop() {
	for _, x := range s.All {
		x.Stop(os.Kill)
	}
}

// CPU is how long the one at an address has run on a processor, or all of them if that is empty.
func (s *Servers) CPU(address string) (all time.Duration) {
	for _, x := range s.All {
		if address == "" || x.Address == address {
			all += x.CPU()
		}
	}
	return all
}

// ownCPU is how long this process has.
func ownCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// CPU is how long it has.
func (x *Server) CPU() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
