package cluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// authority signs the certificates of a test's nodes.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peers"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{t, cert, key, pool}
}

// config is that of a node whose certificate is for these hosts.
func (a *authority) config(hosts ...string) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour)}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: a.pool, ClientCAs: a.pool,
	}
}

// end is one end of the transport.
type end struct {
	*Peers
	address string
	got     chan *pb.Message
	lost    chan uint64
	logged  *lines
}

// lines is what was logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	said chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	select {
	case l.said <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait waits until something with this text has been logged.
func (l *lines) wait(t *testing.T, text string) {
	for {
		all := l.String()
		if strings.Contains(all, text) {
			return
		}
		select {
		case <-l.said:
		case <-time.After(20 * time.Second):
			t.Fatalf("%q was not logged: %s", text, all)
		}
	}
}

func newEnd(t *testing.T, id uint64, change func(*PeersOptions)) *end {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e := &end{address: l.Addr().String(), got: make(chan *pb.Message, 1000), lost: make(chan uint64, 1000), logged: &lines{said: make(chan struct{}, 1)}}
	o := PeersOptions{
		Cluster: 77, ID: id, Address: e.address, Logger: slog.New(slog.NewTextHandler(e.logged, nil)),
		Receive: func(all ...*pb.Message) {
			for _, m := range all {
				e.got <- m
			}
		},
		Unreachable: func(id uint64) {
			select {
			case e.lost <- id:
			default:
			}
		},
	}
	if change != nil {
		change(&o)
	}
	e.Peers = NewPeers(l, o)
	t.Cleanup(e.Close)
	return e
}

func message(from, to uint64, data string) *pb.Message {
	return &pb.Message{Type: pb.MsgApp.Enum(), From: new(from), To: new(to), Term: new(uint64(3)), Entries: []*pb.Entry{entry(5, 3, data)}}
}

// send sends until a message has come: some may be lost while the stream is made.
func send(t *testing.T, a, b *end, m *pb.Message) *pb.Message {
	for range 2000 {
		a.Send([]*pb.Message{m})
		a.Flush()
		select {
		case got := <-b.got:
			return got
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Fatalf("no message has come: %s", a.logged.String())
	return nil
}

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

func always(c *tls.Config) func() *tls.Config { return func() *tls.Config { return c } }

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
		{"another group", func(o *PeersOptions) { o.Group = 3 }, nil, "node 2 refuses: node 1 is of group 3", "node 1 is of group 3, and node 2 of group 0", false},
		{"another node", nil, func(o *PeersOptions) { o.ID = 9 }, "node 9 refuses: another node is at the address now: the stream is meant for node 2", "here is node 9", false},
		{"no TLS", nil, secure, "the other side has not said who it is", "a connection was not taken as a peer's", false},
		{"no TLS at the other", secure, nil, "a member is not reached", "the other side does not speak as a kvd's peer does", false},
		{"another authority", func(o *PeersOptions) { o.TLS = always(other.config("127.0.0.1")) }, secure, "certificate", "certificate", false},
		{"another host", secure, func(o *PeersOptions) { o.TLS = always(ca.config("example.com")) }, "certificate", "certificate", false},
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

// TestAMemberThatHasMovedMayAsk: its certificate is for the host where it is now, so that it can tell where that is;
// more it may do when the members know.
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

func TestFramesThatAreNoneAreRefused(t *testing.T) {
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	require.NoError(t, writeFrame(w, []byte("some text")))
	require.NoError(t, w.Flush())
	whole := b.Bytes()
	for n := range whole {
		_, _, err := readFrame(bufio.NewReader(bytes.NewReader(whole[:n])))
		require.Error(t, err, "cut at %d", n)
		flipped := bytes.Clone(whole)
		flipped[n] ^= 1
		_, _, err = readFrame(bufio.NewReader(bytes.NewReader(flipped)))
		require.Error(t, err, "flipped at %d", n)
	}
	_, _, err := readFrame(bufio.NewReader(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})))
	require.ErrorContains(t, err, "too long")
	claims := io.MultiReader(bytes.NewReader([]byte{0x3f, 0xff, 0xff, 0xff, 0, 0, 0, 0}), strings.NewReader("little"))
	_, _, err = readFrame(bufio.NewReader(claims))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)

	h := hello{version: streamVersion, group: 1, cluster: 2, from: 3, to: 4, class: 2, text: "a:1"}
	b.Reset()
	require.NoError(t, h.write(&b))
	require.Len(t, b.Bytes(), helloSize+3+4)
	got, err := readHello(&b)
	require.NoError(t, err)
	require.Equal(t, h, got)
}

// A link that takes all and delivers nothing is noticed, though nothing is written that fails.
func TestALinkThatIsSilentIsGivenUp(t *testing.T) {
	b := newEnd(t, 2, func(o *PeersOptions) { o.DeadAfter = 500 * time.Millisecond })
	var mu sync.Mutex
	var conns []*mutable
	a := newEnd(t, 1, func(o *PeersOptions) {
		o.DeadAfter = 500 * time.Millisecond
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, err
			}
			c := &mutable{Conn: conn}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			return c, nil
		}
	})
	a.SetMembers(map[uint64]string{2: b.address})
	send(t, a, b, message(1, 2, "x"))
	for len(b.got) > 0 {
		<-b.got
	}
	for len(a.lost) > 0 { // of before there was a stream
		<-a.lost
	}
	mu.Lock()
	for _, c := range conns {
		c.mute()
	}
	mu.Unlock()
	a.Send([]*pb.Message{message(1, 2, "lost")})
	a.Flush()
	for id := range a.lost { // it is told after deadAfter
		require.EqualValues(t, 2, id)
		break
	}
	require.Equal(t, "y", string(send(t, a, b, message(1, 2, "y")).GetEntries()[0].GetData()))
}

// A large message over a slow link takes longer than a link may be silent, and is not taken for that.
func TestALargeMessageOverASlowLinkArrives(t *testing.T) {
	const silent = 300 * time.Millisecond
	b := newEnd(t, 2, func(o *PeersOptions) { o.DeadAfter = silent })
	a := newEnd(t, 1, func(o *PeersOptions) {
		o.DeadAfter = silent
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
			return slow{conn}, err
		}
	})
	a.SetMembers(map[uint64]string{2: b.address})
	send(t, a, b, message(1, 2, "x"))
	m := message(1, 2, strings.Repeat("x", 4<<20))
	a.Send([]*pb.Message{m})
	a.Flush()
	for got := range b.got {
		if len(got.GetEntries()[0].GetData()) > 1 {
			require.True(t, proto.Equal(m, got))
			break
		}
	}
	require.NotContains(t, a.logged.String(), "has not been heard of")
}

// slow is a connection over which what is written takes its time.
type slow struct{ net.Conn }

func (s slow) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(len(b)) * time.Second / (4 << 20))
	return s.Conn.Write(b)
}

// mutable is a connection that can lose all that is written.
type mutable struct {
	net.Conn
	mu    sync.Mutex
	muted bool
}

func (m *mutable) mute() {
	m.mu.Lock()
	m.muted = true
	m.mu.Unlock()
}

func (m *mutable) Write(b []byte) (int, error) {
	m.mu.Lock()
	muted := m.muted
	m.mu.Unlock()
	if muted {
		return len(b), nil
	}
	return m.Conn.Write(b)
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
