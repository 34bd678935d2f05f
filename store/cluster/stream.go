package cluster

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// Nodes talk over streams, each in one direction: who dials sends. All integers are big-endian.
//
// First each side says who it is, the dialing one first:
//
//	0        6         8       12        20     28     36      37       39
//	+--------+---------+-------+---------+------+------+-------+--------+---------+--------+--------+
//	| magic  | version | group | cluster | from | to   | class | length | address | oldest | newest |
//	| kvpeer | u16 = 2 | u32   | u64     | u64  | u64  | u8    | u16    | ...     | u16    | u16    |
//	+--------+---------+-------+---------+------+------+-------+--------+---------+--------+--------+
//
// Oldest and newest are the formats that the sender reads: see format.go. What is before them is the same in all
// versions, so that each side can tell another version from none, and say why it refuses; version 1, from before 0.1.0,
// had no more. The address is that of the sender's peers. In the answer from and to have changed places, and a class of
// 0 says that the stream is refused, and instead of the address there is the reason. Then frames follow:
//
//	0        4       8
//	+--------+-------+------+
//	| length | CRC   | body |
//	| u32    | u32   |      |
//	+--------+-------+------+
//
// The CRC-32C is that of the body. A frame of length 0 is a ping, and the CRC is what the other side sends back, four bytes.
const (
	streamMagic   = "kvpeer"
	streamVersion = 2
	helloSize     = 39 // up to the address

	classRaft     = 1
	classSnapshot = 2
	classControl  = 3

	// maxStreamFrame is more than any message has: an entry is at most one record beyond maxBatch.
	maxStreamFrame = 1 << 30
	trustedFrame   = 1 << 20 // memory for more than this is taken as it comes
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// hello is what each side says first.
type hello struct {
	version  uint16
	group    uint32
	cluster  uint64
	from, to uint64
	class    byte
	formats  Formats
	text     string // the address, or why the stream is refused
}

func (h hello) write(w io.Writer) error {
	b := append(make([]byte, 0, helloSize+len(h.text)+4), streamMagic...)
	b = binary.BigEndian.AppendUint16(b, streamVersion)
	b = binary.BigEndian.AppendUint32(b, h.group)
	b = binary.BigEndian.AppendUint64(b, h.cluster)
	b = binary.BigEndian.AppendUint64(b, h.from)
	b = binary.BigEndian.AppendUint64(b, h.to)
	b = append(b, h.class)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.text)))
	b = append(b, h.text...)
	b = binary.BigEndian.AppendUint16(b, h.formats.Oldest)
	b = binary.BigEndian.AppendUint16(b, h.formats.Newest)
	_, err := w.Write(b)
	return err
}

var errNoPeer = errors.New("the other side does not speak as a kvd's peer does")

func readHello(r io.Reader) (h hello, err error) {
	var b [helloSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return h, err
	}
	if string(b[:6]) != streamMagic {
		return h, errNoPeer
	}
	h = hello{
		version: binary.BigEndian.Uint16(b[6:]), group: binary.BigEndian.Uint32(b[8:]), cluster: binary.BigEndian.Uint64(b[12:]),
		from: binary.BigEndian.Uint64(b[20:]), to: binary.BigEndian.Uint64(b[28:]), class: b[36],
	}
	text := make([]byte, binary.BigEndian.Uint16(b[37:]))
	if _, err := io.ReadFull(r, text); err != nil {
		return h, err
	}
	if h.text = string(text); h.version != streamVersion {
		return h, nil // there may be no more
	}
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return h, err
	}
	h.formats = Formats{binary.BigEndian.Uint16(b[:]), binary.BigEndian.Uint16(b[2:])}
	return h, nil
}

// frameHead is the length of a frame before its body.
const frameHead = 8

// putFrameHead writes what is before the body of a frame that is whole but for that.
func putFrameHead(b []byte) {
	body := b[frameHead:]
	binary.BigEndian.PutUint32(b, uint32(len(body)))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(body, crcTable))
}

func writeFrame(w *bufio.Writer, body []byte) error {
	var b [frameHead]byte
	binary.BigEndian.PutUint32(b[:], uint32(len(body)))
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(body, crcTable))
	if _, err := w.Write(b[:]); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// appendPing asks for an answer with this number.
func appendPing(b []byte, number uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0, 0, 0, 0), number)
}

// readFrame returns the body of the next frame; nil and its number: it is a ping.
func readFrame(r *bufio.Reader) (body []byte, ping uint32, err error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, 0, err
	}
	n, crc := binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint32(b[4:])
	switch {
	case n == 0:
		return nil, crc, nil
	case n > maxStreamFrame:
		return nil, 0, fmt.Errorf("a frame of %d bytes is too long", n)
	}
	body = make([]byte, min(n, trustedFrame))
	for at := 0; ; {
		if _, err := io.ReadFull(r, body[at:]); err != nil {
			return nil, 0, err
		}
		if at = len(body); at == int(n) {
			break
		}
		body = append(body, make([]byte, min(int(n)-at, at))...) // no more than twice what has come
	}
	if crc32.Checksum(body, crcTable) != crc {
		return nil, 0, errors.New("a frame's checksum is wrong")
	}
	return body, 0, nil
}

// hasFrame reports whether the next frame can be read without waiting for the other side.
func hasFrame(r *bufio.Reader) bool {
	if r.Buffered() < frameHead {
		return false
	}
	b, err := r.Peek(frameHead)
	return err == nil && uint64(r.Buffered()-frameHead) >= uint64(binary.BigEndian.Uint32(b))
}
