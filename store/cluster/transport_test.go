package cluster

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func TestPeersTalkPlainAndOverTLS(t *testing.T) {
	ca := newAuthority(t)
	for name, change := range map[string]func(*PeersOptions){
		"plain": nil,
		"TLS":   func(o *PeersOptions) { o.TLS = always(ca.config("127.0.0.1")) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newEnd(t, 1, change), newEnd(t, 2, change)
			all := map[uint64]string{1: a.address, 2: b.address}
			a.SetMembers(all)
			b.SetMembers(all)
			m := message(1, 2, strings.Repeat("x", 3<<20))
			got := send(t, a, b, m)
			require.True(t, proto.Equal(m, got))
			require.True(t, proto.Equal(message(2, 1, "y"), send(t, b, a, message(2, 1, "y"))))
			ok, _ := a.Reachable(2)
			require.True(t, ok)

			a.SetMembers(map[uint64]string{1: a.address})
			a.Send([]*pb.Message{m})
			a.Flush()
			require.EqualValues(t, 2, <-a.lost, "it is no member any more")
		})
	}
}

// TestWhatIsSentComesInOrder: whoever sends writes himself what the socket takes at once, and leaves the rest to the
// stream's goroutine. Nothing is lost, doubled or overtaken by that, whoever writes what.
func TestWhatIsSentComesInOrder(t *testing.T) {
	ca := newAuthority(t)
	for name, secure := range map[string]func(*PeersOptions){
		"plain": func(*PeersOptions) {},
		"TLS":   func(o *PeersOptions) { o.TLS = always(ca.config("127.0.0.1")) },
	} {
		t.Run(name, func(t *testing.T) {
			read := make(chan struct{})
			got := make(chan *pb.Message, 1000)
			a := newEnd(t, 1, secure)
			b := newEnd(t, 2, func(o *PeersOptions) {
				secure(o)
				o.Receive = func(all ...*pb.Message) {
					<-read
					for _, m := range all {
						got <- m
					}
				}
			})
			t.Cleanup(sync.OnceFunc(func() {
				select {
				case <-read:
				default:
					close(read)
				}
			}))
			a.SetMembers(map[uint64]string{2: b.address})
			a.logged.wait(t, "a member is reached")
			for ok := false; !ok; ok, _ = a.Reachable(2) {
				runtime.Gosched()
			}
			const n = 300
			size := func(i int) int { // together more than sockets hold, and less than is queued
				if i%10 == 3 {
					return 150_000
				}
				return i
			}
			var sending sync.WaitGroup
			var order sync.Mutex
			next := 0
			for range 3 { // as several goroutines step a node
				sending.Go(func() {
					for {
						order.Lock()
						i := next
						if next++; i < n {
							a.Send([]*pb.Message{message(1, 2, fmt.Sprintf("%d %s", i, strings.Repeat("x", size(i))))})
						}
						order.Unlock()
						if i >= n {
							return
						}
						a.Flush()
					}
				})
			}
			sending.Wait()
			close(read)
			for i := range n {
				m := <-got
				require.True(t, strings.HasPrefix(string(m.GetEntries()[0].GetData()), fmt.Sprintf("%d ", i)), "message %d", i)
				require.Len(t, m.GetEntries()[0].GetData(), len(fmt.Sprintf("%d ", i))+size(i))
			}
			require.Empty(t, a.lost)
		})
	}
}

func TestAPeerThatIsNotMeantIsRefused(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	secure := func(o *PeersOptions) { o.TLS = always(ca.config("127.0.0.1")) }
	for _, c := range []struct {
		name         string
		a, b         func(*PeersOptions)
		atA, atB     string
		otherAddress bool
	}{
		{"another cluster", func(o *PeersOptions) { o.Cluster = 78 }, nil,
			"node 2 refuses: node 1 is of cluster 78, and node 2 of cluster 77", "node 1 is of cluster 78", false},
		{"another group", func(o *PeersOptions) { o.Group = 3 }, nil, "node 2 refuses: node 1 is of group 3",
			"node 1 is of group 3, and node 2 of group 0", false},
		{"another node", nil, func(o *PeersOptions) { o.ID = 9 },
			"node 9 refuses: another node is at the address now: the stream is meant for node 2", "here is node 9", false},
		{"no TLS", nil, secure, "the other side has not said who it is", "a connection was not taken as a peer's", false},
		{"no TLS at the other", secure, nil, "a member is not reached",
			"the other side does not speak as a kvd's peer does", false},
		{"another authority", func(o *PeersOptions) { o.TLS = always(other.config("127.0.0.1")) }, secure,
			"certificate", "certificate", false},
		{"another host", secure, func(o *PeersOptions) { o.TLS = always(ca.config("example.com")) }, "certificate",
			"certificate", false},
		{"a certificate that is not the dialer's", func(o *PeersOptions) { o.TLS = always(ca.config("example.com")) }, secure,
			"the certificate is not that of a member at 127.0.0.1", "the certificate is not that of a member", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newEnd(t, 1, c.a), newEnd(t, 2, c.b)
			a.SetMembers(map[uint64]string{2: b.address})
			a.logged.wait(t, c.atA)
			b.logged.wait(t, c.atB)
			a.Send([]*pb.Message{message(1, 2, "x")})
			a.Flush()
			require.EqualValues(t, 2, <-a.lost)
			require.Empty(t, b.got)
		})
	}
}

// TestAMemberThatHasEndedIsDown: and one that is reached is not.
func TestAMemberThatHasEndedIsDown(t *testing.T) {
	down := make(chan uint64, 100)
	a, b := newEnd(t, 1, func(o *PeersOptions) { o.Down = func(id uint64) { down <- id } }), newEnd(t, 2, nil)
	a.SetMembers(map[uint64]string{2: b.address})
	send(t, a, b, message(1, 2, "x"))
	require.Empty(t, down)
	b.Close()
	require.EqualValues(t, 2, <-down)
}

// A member that comes back says so by dialing: it is dialed then, and not after the pause.
func TestAMemberThatDialsIsDialed(t *testing.T) {
	held := make(chan struct{})
	a := newEnd(t, 1, func(o *PeersOptions) {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			<-held
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
	})
	t.Cleanup(sync.OnceFunc(func() { close(held) }))
	b := newEnd(t, 2, nil)
	a.SetMembers(map[uint64]string{2: b.address})
	a.mu.Lock()
	there := a.members[2].there
	a.mu.Unlock()
	require.Empty(t, there)
	b.SetMembers(map[uint64]string{1: a.address})
	require.Eventually(t, func() bool { return len(there) == 1 }, 20*time.Second, time.Millisecond)
}

// TestAMemberThatHasMovedIsReached: what it has said of where it is holds until it is reached elsewhere, whatever the list
// of the members says, whenever that comes, and whichever dials fail.
func TestAMemberThatHasMovedIsReached(t *testing.T) {
	for name, x := range map[string]struct {
		before, after string // where b's list has a, before a dials and after that; empty: there is no list, or it stays
		fails         int    // so many of b's dials to a
	}{
		"the list comes later":                           {after: "127.0.0.1:1"},
		"the list comes later, and a is where b was":     {after: "b"},
		"the list is applied from its beginning":         {before: "127.0.0.1:1", after: "127.0.0.1:2"},
		"that, and a was where b is":                     {before: "127.0.0.1:1", after: "b"},
		"dials fail":                                     {before: "127.0.0.1:1", fails: 2},
		"dials fail, and a was where b is":               {before: "b", fails: 2},
		"dials fail before the list comes":               {after: "127.0.0.1:1", fails: 2},
		"it was elsewhere, and is where the list has it": {before: "127.0.0.1:1", after: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newEnd(t, 1, func(o *PeersOptions) {
				o.Snapshot = func(_ *pb.Message, r io.Reader) error {
					_, err := io.Copy(io.Discard, r)
					return err
				}
			})
			var fails atomic.Int64
			fails.Store(int64(x.fails))
			b := newEnd(t, 2, func(o *PeersOptions) {
				o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
					if address == a.address && fails.Add(-1) >= 0 {
						return nil, errors.New("it takes too long")
					}
					return (&net.Dialer{}).DialContext(ctx, "tcp", address)
				}
			})
			list := func(address string) {
				at := map[string]string{"a": a.address, "b": b.address}[address]
				b.SetMembers(map[uint64]string{1: cmp.Or(at, address)})
			}
			if x.before != "" {
				list(x.before)
			}
			a.SetMembers(map[uint64]string{2: b.address})
			b.logged.wait(t, "a member is reached")
			if x.after != "" {
				list(x.after)
			}
			send(t, b, a, message(2, 1, "x"))
			m := &pb.Message{Type: pb.MsgSnap.Enum(), From: new(uint64(2)), To: new(uint64(1)), Snapshot: &pb.Snapshot{
				Metadata: &pb.SnapshotMetadata{Index: new(uint64(44)), Term: new(uint64(2))},
			}}
			require.NoError(t, b.SendSnapshot(t.Context(), m, func(io.Writer) error { return nil }))
		})
	}
}

// A node that answers, and is another than it was taken for, is refused by who has dialed, too.
func TestWhoIsDialedIsCheckedByTheDialer(t *testing.T) {
	a := newEnd(t, 1, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			h, _ := readHello(conn)
			h.from, h.cluster = 2, 99
			h.write(conn)
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	a.SetMembers(map[uint64]string{2: l.Addr().String()})
	a.logged.wait(t, "node 2 is of cluster 99, and node 1 of cluster 77")
}

// A name is looked up at each dial: what is found there may be elsewhere the next time.
func TestAddressesAreLookedUpAtEachDial(t *testing.T) {
	var mu sync.Mutex
	at := "127.0.0.1:1" // nobody
	a := newEnd(t, 1, func(o *PeersOptions) {
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if address != "kv-2:7401" {
				return nil, errors.New("not that")
			}
			return (&net.Dialer{}).DialContext(ctx, "tcp", at)
		}
	})
	a.SetMembers(map[uint64]string{2: "kv-2:7401"})
	a.logged.wait(t, "a member is not reached")
	b := newEnd(t, 2, nil)
	mu.Lock()
	at = b.address
	mu.Unlock()
	send(t, a, b, message(1, 2, "x"))
	b.Close()
	next := newEnd(t, 2, nil)
	mu.Lock()
	at = next.address
	mu.Unlock()
	send(t, a, next, message(1, 2, "x"))
}

func TestASnapshotIsStreamed(t *testing.T) {
	content := make([]byte, 3<<20+17)
	rand.Read(content)
	var fails error
	b := newEnd(t, 2, func(o *PeersOptions) {
		o.Snapshot = func(m *pb.Message, r io.Reader) error {
			got, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, content) {
				return errors.New("it is not what was sent")
			}
			if m.GetSnapshot().GetMetadata().GetIndex() != 44 {
				return errors.New("it is another's")
			}
			return fails
		}
	})
	a := newEnd(t, 1, nil)
	a.SetMembers(map[uint64]string{2: b.address})
	m := &pb.Message{Type: pb.MsgSnap.Enum(), From: new(uint64(1)), To: new(uint64(2)), Snapshot: &pb.Snapshot{
		Metadata: &pb.SnapshotMetadata{Index: new(uint64(44)), Term: new(uint64(2))},
	}}
	write := func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(content))
		return err
	}
	require.NoError(t, a.SendSnapshot(t.Context(), m, write))
	fails = errors.New("no space left")
	require.EqualError(t, a.SendSnapshot(t.Context(), m, write), "no space left")
	broken := errors.New("the walk has ended")
	require.ErrorIs(t, a.SendSnapshot(t.Context(), m, func(w io.Writer) error {
		write(w)
		return broken
	}), broken)
	b.logged.wait(t, "unexpected EOF") // what has no end is no snapshot
	m.To = new(uint64(7))
	require.ErrorContains(t, a.SendSnapshot(t.Context(), m, write), "no member")
}

func TestAQuestionIsAnswered(t *testing.T) {
	b := newEnd(t, 2, func(o *PeersOptions) {
		o.Cluster = 0 // not founded yet
		o.Control = func(_ uint64, q []byte) ([]byte, error) {
			if string(q) == "fail" {
				return nil, errors.New("it can't be done")
			}
			return append(q, "!"...), nil
		}
	})
	a := newEnd(t, 1, nil)
	answer, err := a.Ask(t.Context(), b.address, []byte("hello"))
	require.NoError(t, err)
	require.Equal(t, "hello!", string(answer))
	_, err = a.Ask(t.Context(), b.address, []byte("fail"))
	var said *PeerError
	require.ErrorAs(t, err, &said)
	require.Equal(t, "it can't be done", said.Detail)
	_, err = a.Ask(t.Context(), "127.0.0.1:1", []byte("hello"))
	require.Error(t, err)
}

// TestAMemberThatHasMovedMayAsk: a member with a certificate for its new host may ask, and so tell its new address; it may
// do more when the members know the address.
func TestAMemberThatHasMovedMayAsk(t *testing.T) {
	ca := newAuthority(t)
	secure := func(o *PeersOptions) { o.TLS = always(ca.config("127.0.0.1")) }
	b := newEnd(t, 2, func(o *PeersOptions) {
		secure(o)
		o.Control = func(_ uint64, q []byte) ([]byte, error) { return q, nil }
	})
	b.SetMembers(map[uint64]string{1: "n1.example:7071"})
	a := newEnd(t, 1, secure)
	answer, err := a.Ask(t.Context(), b.address, []byte("hello"))
	require.NoError(t, err)
	require.Equal(t, "hello", string(answer))
	a.SetMembers(map[uint64]string{2: b.address})
	a.logged.wait(t, "the certificate is not that of a member at n1.example:7071")
}

// Who is refused tries again and again, which is told once at both ends; that a node belongs to no cluster, which
// passes, is not told.
func TestARefusalIsToldOnce(t *testing.T) {
	for cluster, lines := range map[uint64]int{78: 1, 0: 0} {
		b := newEnd(t, 2, func(o *PeersOptions) { o.Cluster = cluster })
		dials := make(chan struct{})
		a := newEnd(t, 1, func(o *PeersOptions) {
			o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
				select {
				case dials <- struct{}{}:
				case <-ctx.Done():
				}
				return (&net.Dialer{}).DialContext(ctx, "tcp", address)
			}
		})
		a.SetMembers(map[uint64]string{2: b.address})
		for range 4 { // the fourth begins when three have been refused
			<-dials
		}
		require.Equal(t, lines, strings.Count(a.logged.String(), "\n"), a.logged)
		require.Equal(t, lines, strings.Count(b.logged.String(), "\n"), b.logged)
	}
}
