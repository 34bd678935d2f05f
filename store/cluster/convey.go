package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// A stream of a snapshot is a frame with the message, frames with parts of the snapshot, each behind a byte 1, and one
// with a byte 0, the end. A question is a frame with the question. Both are answered by a frame: a byte 0 and the
// answer, or a byte 1 and what went wrong.
const (
	partEnd  = 0
	partMore = 1

	answerOK    = 0
	answerError = 1

	partSize = 256 << 10
	// snapshotWait is how long a side of a snapshot's stream waits for the other: for the next part, and for what the
	// receiver does with it.
	snapshotWait = time.Minute
)

// PeerError is what another node answered instead of doing what it was asked.
type PeerError struct{ Detail string }

func (e *PeerError) Error() string { return e.Detail }

// SendSnapshot streams a snapshot to the member that m is for: what write writes. It returns once the member has it, durably.
func (p *Peers) SendSnapshot(ctx context.Context, m *pb.Message, write func(w io.Writer) error) error {
	p.mu.Lock()
	to := p.members[m.GetTo()]
	p.mu.Unlock()
	if to == nil {
		return fmt.Errorf("node %d is no member", m.GetTo())
	}
	conn, err := p.dial(ctx, to.id, to.where(), classSnapshot)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	head, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	w := &partWriter{conn: conn, w: bufio.NewWriterSize(conn, 64<<10), part: []byte{partMore}}
	if err = w.frame(head); err == nil {
		if err = write(w); err == nil {
			err = w.end()
		}
	}
	if err != nil {
		return err
	}
	_, err = readAnswer(conn, snapshotWait)
	return err
}

// partWriter cuts what is written into frames.
type partWriter struct {
	conn net.Conn
	w    *bufio.Writer
	part []byte
}

func (p *partWriter) frame(body []byte) error {
	p.conn.SetWriteDeadline(time.Now().Add(snapshotWait))
	return writeFrame(p.w, body)
}

func (p *partWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		k := min(len(b), partSize-len(p.part))
		p.part = append(p.part, b[:k]...)
		n, b = n+k, b[k:]
		if len(p.part) == partSize {
			if err := p.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (p *partWriter) flush() error {
	if len(p.part) == 1 {
		return nil
	}
	err := p.frame(p.part)
	p.part = p.part[:1]
	return err
}

func (p *partWriter) end() error {
	if err := p.flush(); err != nil {
		return err
	}
	if err := p.frame([]byte{partEnd}); err != nil {
		return err
	}
	return p.w.Flush()
}

// partReader reads what a partWriter has written.
type partReader struct {
	conn  net.Conn
	r     *bufio.Reader
	part  []byte
	ended bool
}

func (p *partReader) Read(b []byte) (int, error) {
	for len(p.part) == 0 {
		if p.ended {
			return 0, io.EOF
		}
		p.conn.SetReadDeadline(time.Now().Add(snapshotWait))
		body, _, err := readFrame(p.r)
		switch {
		case err == io.EOF:
			return 0, io.ErrUnexpectedEOF
		case err != nil:
			return 0, err
		case len(body) == 1 && body[0] == partEnd:
			p.ended = true
		case len(body) > 1 && body[0] == partMore:
			p.part = body[1:]
		default:
			return 0, errNoPeer
		}
	}
	n := copy(b, p.part)
	p.part = p.part[n:]
	return n, nil
}

func (p *Peers) serveSnapshot(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(snapshotWait))
	r := &partReader{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	head, _, err := readFrame(r.r)
	if err != nil {
		return err
	}
	m := new(pb.Message)
	if err := proto.Unmarshal(head, m); err != nil || m.GetType() != pb.MsgSnap || m.GetTo() != p.o.ID {
		return errors.Join(errNoPeer, err)
	}
	err = p.o.Snapshot(m, r)
	if err == nil && !r.ended {
		err = errors.New("the snapshot was not read to its end")
	}
	if err != nil && p.ctx.Err() == nil {
		p.o.Logger.Warn("a snapshot that a member sent was not taken in",
			"node", idText(m.GetFrom()), "from", conn.RemoteAddr().String(), "error", err)
	}
	return errors.Join(err, writeAnswer(conn, nil, err))
}

// Ask asks whoever is at an address a question that is not Raft's.
func (p *Peers) Ask(ctx context.Context, address string, question []byte) ([]byte, error) {
	conn, err := p.dial(ctx, 0, address, classControl)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	w := bufio.NewWriter(conn)
	if err := writeFrame(w, question); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return readAnswer(conn, snapshotWait)
}

func (p *Peers) serveControl(conn net.Conn, h hello) error {
	question, _, err := readFrame(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Time{})
	answer, err := p.o.Control(h.cluster, question)
	return writeAnswer(conn, answer, err)
}

func writeAnswer(conn net.Conn, answer []byte, err error) error {
	body := append([]byte{answerOK}, answer...)
	if err != nil {
		body = append([]byte{answerError}, err.Error()...)
	}
	conn.SetWriteDeadline(time.Now().Add(deadAfter))
	w := bufio.NewWriter(conn)
	if err := writeFrame(w, body); err != nil {
		return err
	}
	return w.Flush()
}

func readAnswer(conn net.Conn, wait time.Duration) ([]byte, error) {
	conn.SetReadDeadline(time.Now().Add(wait))
	body, _, err := readFrame(bufio.NewReader(conn))
	switch {
	case err != nil:
		return nil, fmt.Errorf("no answer: %w", err)
	case len(body) > 0 && body[0] == answerOK:
		return body[1:], nil
	case len(body) > 0 && body[0] == answerError:
		return nil, &PeerError{string(body[1:])}
	}
	return nil, errNoPeer
}
