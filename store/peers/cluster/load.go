package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// Load is a closed loop: each connection sends Depth requests, waits for all answers, and sends the next. One goroutine
// does all of it over epoll, so that the generator takes as little of the cores as it can, and as much for one server
// as for another.
type Load struct {
	Protocol Protocol
	Servers  []string // the connections are spread over them evenly
	Clients  int
	Depth    int
	Sets     bool // else it is gets
	Keys     int
	Value    int // bytes
	Count    int // of requests; 0: as many as fit in Time
	Time     time.Duration
	InTurn   bool // keys one after another, rather than at random
}

// Measured is what a Load has measured.
type Measured struct {
	PerSecond float64
	P50, P99  time.Duration
	Count     int
}

// Protocol is how a connection talks to a server.
type Protocol interface {
	// Hello appends what a connection sends first.
	Hello(dst []byte) []byte
	// Batch appends n requests, for the keys that next returns, to c.out, and sets c.open.
	Batch(c *Conn, n int, set bool, next func() int, value int)
	// Answers takes whole answers from b, as many as c.open says at most, and returns how many bytes those are.
	Answers(c *Conn, b []byte) (used int, err error)
}

// Conn is one connection of a Load.
type Conn struct {
	fd       int
	out, in  []byte
	sent     int
	open     int // answers that are to come
	value    int // bytes that an answer to a get has; -1: these are sets
	began    time.Time
	watching bool // for room to write
	http     http2
}

type xorshift uint64

func (x *xorshift) next() uint64 {
	*x ^= *x << 13
	*x ^= *x >> 7
	*x ^= *x << 17
	return uint64(*x)
}

// Run does it.
func (l Load) Run() (Measured, error) {
	ep, err := unix.EpollCreate1(0)
	if err != nil {
		return Measured{}, err
	}
	defer unix.Close(ep)
	conns := make(map[int32]*Conn, l.Clients)
	defer func() {
		for _, c := range conns {
			unix.Close(c.fd)
		}
	}()
	for i := range l.Clients {
		c, err := dial(l.Servers[i%len(l.Servers)])
		if err != nil {
			return Measured{}, err
		}
		c.value = -1
		if !l.Sets {
			c.value = l.Value
		}
		conns[int32(c.fd)] = c
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}); err != nil {
			return Measured{}, err
		}
		c.out = l.Protocol.Hello(c.out)
	}
	random, at := xorshift(88172645463325252), 0
	next := func() int {
		at++
		if l.InTurn {
			return (at - 1) % l.Keys
		}
		return int(random.next() % uint64(l.Keys))
	}
	hist := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	begun, live := 0, 0
	start := time.Now()
	begin := func(c *Conn, now time.Time) bool {
		n := l.Depth
		if l.Count > 0 {
			n = min(n, l.Count-begun)
		} else if now.Sub(start) >= l.Time {
			n = 0
		}
		if n == 0 {
			return false
		}
		begun += n
		c.began = now
		l.Protocol.Batch(c, n, l.Sets, next, l.Value)
		return true
	}
	for _, c := range conns {
		if begin(c, start) {
			live++
		}
		if err := c.flush(ep); err != nil {
			return Measured{}, err
		}
	}
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, 1<<20)
	for live > 0 {
		n, err := unix.EpollWait(ep, events, 10_000)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return Measured{}, err
		case n == 0:
			return Measured{}, fmt.Errorf("no answer for ten seconds, with %d requests sent", begun)
		}
		for _, e := range events[:n] {
			c := conns[e.Fd]
			if e.Events&unix.EPOLLOUT != 0 {
				if err := c.flush(ep); err != nil {
					return Measured{}, err
				}
			}
			if e.Events&^uint32(unix.EPOLLOUT) == 0 {
				continue
			}
			n, err := unix.Read(c.fd, buf)
			switch {
			case err == unix.EAGAIN || err == unix.EINTR:
				continue
			case err != nil:
				return Measured{}, fmt.Errorf("read: %w", err)
			case n == 0:
				return Measured{}, fmt.Errorf("the server has closed the connection")
			}
			b := buf[:n]
			if len(c.in) > 0 {
				c.in = append(c.in, b...)
				b = c.in
			}
			open := c.open
			used, err := l.Protocol.Answers(c, b)
			if err != nil {
				return Measured{}, err
			}
			c.in = append(c.in[:0], b[used:]...)
			if open > 0 && c.open == 0 {
				now := time.Now()
				hist.RecordValue(int64(now.Sub(c.began) / time.Microsecond))
				live--
				if begin(c, now) {
					live++
				}
			}
			if err := c.flush(ep); err != nil {
				return Measured{}, err
			}
		}
	}
	took := time.Since(start)
	return Measured{
		PerSecond: float64(begun) / took.Seconds(), Count: begun,
		P50: time.Duration(hist.ValueAtQuantile(50)) * time.Microsecond, P99: time.Duration(hist.ValueAtQuantile(99)) * time.Microsecond,
	}, nil
}

// dial connects to a server on this machine.
func dial(address string) (*Conn, error) {
	a, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return &Conn{fd: fd, http: http2{stream: 1}}, nil
}

// flush writes what is to be sent, as far as the socket has room.
func (c *Conn) flush(ep int) error {
	for c.sent < len(c.out) {
		n, err := unix.Write(c.fd, c.out[c.sent:])
		switch err {
		case nil:
			c.sent += n
			continue
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return c.watch(ep, true)
		}
		return fmt.Errorf("write: %w", err)
	}
	c.out, c.sent = c.out[:0], 0
	return c.watch(ep, false)
}

func (c *Conn) watch(ep int, room bool) error {
	if c.watching == room {
		return nil
	}
	c.watching = room
	events := uint32(unix.EPOLLIN)
	if room {
		events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(ep, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.fd)})
}

const keySize = 16

// appendKey appends the key of a number.
func appendKey(dst []byte, n int) []byte {
	dst = append(dst, "key:000000000000"...)
	for i := len(dst) - 1; n > 0; i, n = i-1, n/10 {
		dst[i] = byte('0' + n%10)
	}
	return dst
}

// appendValue appends a value of so many bytes, which tells of which key it is.
func appendValue(dst []byte, n, size int) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n+1)*0x9e3779b97f4a7c15)
	for size > 0 {
		k := min(size, len(b))
		dst = append(dst, b[:k]...)
		size -= k
	}
	return dst
}
