package main

import (
	"encoding/binary"
	"fmt"
)

// etcd is etcd's gRPC: each request is a stream of HTTP/2, whose headers never change. What comes back is not decoded
// further than to see that it is a message, and how long.
type etcd struct{}

// http2 is what a connection knows of HTTP/2.
type http2 struct {
	stream uint32 // of the next request
	taken  int    // bytes of data since the server was last told that there is room
	size   int    // of the answer so far
}

const (
	http2Data     = 0
	http2Headers  = 1
	http2Reset    = 3
	http2Settings = 4
	http2Ping     = 6
	http2GoAway   = 7
	http2Window   = 8

	http2Room = 1 << 30 // bytes that the server may send before it is told that there is room for more
)

func appendFrame(dst []byte, kind, flags byte, stream uint32, body []byte) []byte {
	dst = append(dst, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)), kind, flags)
	dst = binary.BigEndian.AppendUint32(dst, stream)
	return append(dst, body...)
}

func (etcd) Hello(dst []byte) []byte {
	dst = append(dst, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
	settings := binary.BigEndian.AppendUint32([]byte{0, 4}, http2Room) // the room of a stream
	dst = appendFrame(dst, http2Settings, 0, 0, settings)
	return appendFrame(dst, http2Window, 0, 0, binary.BigEndian.AppendUint32(nil, http2Room))
}

// headersOf returns the headers of a call, HPACK without an index of its own.
func headersOf(path string) []byte {
	b := []byte{0x83, 0x86} // :method POST, :scheme http
	b = append(append(b, 0x04, byte(len(path))), path...)
	b = append(append(b, 0x01, 9), "localhost"...)
	b = append(append(b, 0x0f, 0x10, 16), "application/grpc"...)
	b = append(append(b, 0x00, 2), "te"...)
	return append(append(b, 8), "trailers"...)
}

var (
	etcdPut   = headersOf("/etcdserverpb.KV/Put")
	etcdRange = headersOf("/etcdserverpb.KV/Range")
)

func (etcd) Batch(c *Conn, n int, set bool, next func() int, value int) {
	for range n {
		k := next()
		headers := etcdRange
		message := append([]byte{0, 0, 0, 0, 0}, 0x0a, keySize) // of gRPC, and field 1
		message = appendKey(message, k)
		if set {
			headers = etcdPut
			message = binary.AppendUvarint(append(message, 0x12), uint64(value))
			message = appendValue(message, k, value)
		}
		binary.BigEndian.PutUint32(message[1:], uint32(len(message)-5))
		c.out = appendFrame(c.out, http2Headers, 4, c.http.stream, headers)
		for len(message) > 16<<10 {
			c.out = appendFrame(c.out, http2Data, 0, c.http.stream, message[:16<<10])
			message = message[16<<10:]
		}
		c.out = appendFrame(c.out, http2Data, 1, c.http.stream, message)
		c.http.stream += 2
	}
	c.open = n
}

func (etcd) Answers(c *Conn, b []byte) (used int, err error) {
	for len(b)-used >= 9 { // frames that are no answers come at any time
		f := b[used:]
		size := int(f[0])<<16 | int(f[1])<<8 | int(f[2])
		if len(f) < 9+size {
			break
		}
		kind, flags, body := f[3], f[4], f[9:9+size]
		used += 9 + size
		switch kind {
		case http2Data:
			c.http.taken += size
			c.http.size += size
		case http2Settings:
			if flags&1 == 0 {
				c.out = appendFrame(c.out, http2Settings, 1, 0, nil)
			}
		case http2Ping:
			if flags&1 == 0 {
				c.out = appendFrame(c.out, http2Ping, 1, 0, body)
			}
		case http2Reset, http2GoAway:
			return used, fmt.Errorf("etcd ends a stream, or the connection: %q", body)
		}
		if (kind == http2Data || kind == http2Headers) && flags&1 != 0 {
			// The answers of a batch may be mixed; each has one message.
			if c.http.size == 0 {
				return used, fmt.Errorf("etcd answers without a message: %q", body)
			}
			if c.open--; c.open == 0 {
				if c.http.size < c.value {
					return used, fmt.Errorf("the values that etcd answers with are shorter than %d bytes", c.value)
				}
				c.http.size = 0
			}
		}
	}
	if c.http.taken > http2Room/2 {
		c.out = appendFrame(c.out, http2Window, 0, 0, binary.BigEndian.AppendUint32(nil, uint32(c.http.taken)))
		c.http.taken = 0
	}
	return used, nil
}
