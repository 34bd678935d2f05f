package cluster

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
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

// config is the TLS configuration of a node whose certificate is for these hosts.
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
	e := &end{address: l.Addr().String(), got: make(chan *pb.Message, 1000), lost: make(chan uint64, 1000),
		logged: &lines{said: make(chan struct{}, 1)}}
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
	return &pb.Message{Type: pb.MsgApp.Enum(), From: new(from), To: new(to), Term: new(uint64(3)),
		Entries: []*pb.Entry{entry(5, 3, data)}}
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

func always(c *tls.Config) func() *tls.Config { return func() *tls.Config { return c } }
