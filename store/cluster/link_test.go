package cluster

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

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

// slow is a connection on which each write takes its time.
type slow struct{ net.Conn }

func (s slow) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(len(b)) * time.Second / (4 << 20))
	return s.Conn.Write(b)
}

// mutable is a connection that can be made to lose all that is written to it.
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
