package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/protocol"
	"kv/protocol/client"
	"kv/store"
	"kv/store/wal"
	"kv/store/wal/backup"
)

// The test binary is kvc too, for the scripts and for the terminals.
func TestMain(m *testing.M) {
	// The race detector would let every kvc sleep for a second at its end.
	os.Unsetenv("KV_SOAK") // it asks for long tests, and each kvc would warn that it has no such option
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	testscript.Main(m, map[string]func(){"kvc": main})
}

// TestScripts runs the stories in testdata, each against a server of its own with an empty store, whose address is in
// KV_ADDR. "code N COMMAND" runs a command that must end with exit code N; "restart [HISTORY]" ends the server and
// starts another, with an empty store, at the same address, that keeps so many earlier versions; "stop" ends it. At
// SILENT is a server that greets and then answers nothing, and at FOLLOWER one of a cluster that the first one leads.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			s, err := startServer("127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(s.stop)
			env.Values["server"] = s
			env.Setenv("KV_ADDR", s.addr)
			env.Setenv("XDG_STATE_HOME", env.WorkDir)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			silent, err := startSilent()
			if err != nil {
				return err
			}
			env.Defer(func() { silent.Close() })
			env.Setenv("SILENT", silent.Addr().String())
			follower, err := startFollower(s.addr)
			if err != nil {
				return err
			}
			env.Defer(func() { follower.Close() })
			env.Setenv("FOLLOWER", follower.Addr().String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: code N COMMAND [ARG …]")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				err = ts.Exec(args[1], args[2:]...)
				got := 0
				if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d", got, want)
				}
			},
			// offered WORD COMMAND… runs a completion until it offers the word: one that the server has not answered within
			// its tenth of a second offers no keys, which on a busy machine may come once or twice.
			"offered": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: offered WORD COMMAND [ARG …]")
				}
				for range 50 {
					ts.Check(ts.Exec(args[1], args[2:]...))
					if strings.Contains("\n"+ts.ReadFile("stdout"), "\n"+args[0]+"\t\n") {
						return
					}
				}
				ts.Fatalf("%s was never offered", args[0])
			},
			"stop": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("server").(*server).stop() },
			"restart": func(ts *testscript.TestScript, _ bool, args []string) {
				s := ts.Value("server").(*server)
				if len(args) > 0 {
					var err error
					s.history, err = strconv.Atoi(args[0])
					ts.Check(err)
				}
				ts.Check(s.restart())
			},
		},
	})
}

// server is a kv server with an empty store.
type server struct {
	addr    string
	history int // earlier versions that it keeps of each key

	mu sync.Mutex // guards what follows: a script may stop it, and its end does
	s  *netserver.Server
	st *store.Store
	ok chan struct{} // closed when Serve has returned
}

func startServer(addr string) (*server, error) {
	s := &server{addr: addr, history: 5}
	return s, s.restart()
}

func (s *server) restart() error {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	memory := wal.NewMemory()
	if s.st, err = store.Open(store.Options{History: s.history, Journal: memory}); err != nil {
		return err
	}
	memory.Attach(s.st)
	if s.s, err = netserver.New(netserver.Config{Store: s.st, Backups: backup.NewChunks(memory, 1<<20, time.Minute)}); err != nil {
		return err
	}
	l, err := net.Listen(client.Network(s.addr))
	if err != nil {
		return err
	}
	if l.Addr().Network() == "tcp" {
		s.addr = l.Addr().String()
	}
	s.ok = make(chan struct{})
	go func(srv *netserver.Server, ok chan struct{}) {
		srv.Serve(l)
		close(ok)
	}(s.s, s.ok)
	return nil
}

func (s *server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond) // then connections are cut
	defer cancel()
	s.s.Shutdown(ctx)
	<-s.ok
	s.st.Close()
	s.s = nil
}

// testServer is a server for a Go test.
func testServer(t *testing.T) *server {
	s, err := startServer("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(s.stop)
	return s
}

// kvc returns kvc as a command that talks to s.
func (s *server) kvc(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.Command("kvc", args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "KV_ADDR="+s.addr, "XDG_STATE_HOME="+cmd.Dir, "XDG_CONFIG_HOME="+cmd.Dir,
		"TERM=xterm", "NO_COLOR=")
	return cmd
}

// silent is a server that answers HELLO, says that it is alone, and answers nothing else.
type silent struct {
	net.Listener
	asked chan struct{} // holds a token when something else was asked
}

// startFollower starts a server of a cluster that sends what reads or writes keys on to the one at leader.
func startFollower(leader string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go follow(c, leader)
		}
	}()
	return l, nil
}

// follow serves one connection.
func follow(c net.Conn, leader string) {
	defer c.Close()
	head := make([]byte, protocol.HeaderSize)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		h := protocol.ParseHeader(head)
		io.CopyN(io.Discard, c, int64(h.BodySize()))
		switch h.Opcode {
		case protocol.OpHello:
			c.Write(protocol.HelloResponse{Version: protocol.Version}.AppendTo(nil, h.ID))
		case protocol.OpStats:
			c.Write(protocol.AppendStats(nil, h.ID,
				[]protocol.Stat{{Name: "cluster_format", Value: 1}, {Name: "cluster_format_readable", Value: 2},
					{Name: "cluster_settings_differ", Value: 1}}))
		case protocol.OpReads:
			c.Write(protocol.AppendResponse(nil, h.Opcode, protocol.StatusOK, h.ID, nil))
		case protocol.OpCluster:
			c.Write(protocol.ClusterResponse{Cluster: 1, Node: 2, Leader: 1, Members: []protocol.ClusterMember{
				{ID: 1, Role: protocol.Voter, Reachable: true, Client: leader, Peer: "n1:7071"},
				{ID: 2, Role: protocol.Voter, Client: "n2:7070", Peer: "n2:7071"},
				{ID: 3, Role: protocol.Voter, Client: "n3:7070", Peer: "n3:7071"},
				{ID: 4, Role: protocol.Learner, Reachable: true, Client: "n4:7070", Peer: "n4:7071"},
			}}.AppendTo(nil, h.ID))
		default:
			c.Write(protocol.AppendError(nil, h.Opcode, h.ID, &protocol.Error{Status: protocol.StatusMoved, Message: leader}))
		}
	}
}

func startSilent() (*silent, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &silent{l, make(chan struct{}, 1)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.greet(c)
		}
	}()
	return s, nil
}

// greet serves one connection.
func (s *silent) greet(c net.Conn) {
	defer c.Close()
	head := make([]byte, protocol.HeaderSize)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		h := protocol.ParseHeader(head)
		io.CopyN(io.Discard, c, int64(h.BodySize()))
		switch h.Opcode {
		case protocol.OpHello:
			c.Write(protocol.HelloResponse{Version: protocol.Version}.AppendTo(nil, h.ID))
			continue
		case protocol.OpCluster:
			c.Write(protocol.ClusterResponse{}.AppendTo(nil, h.ID))
			continue
		}
		select {
		case s.asked <- struct{}{}:
		default:
		}
	}
}
