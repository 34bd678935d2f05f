package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// frames is kv's protocol, docs/protocol.md.
type frames struct{}

func (frames) Hello(dst []byte) []byte { return dst }

func (frames) Batch(c *Conn, n int, set bool, next func() int, value int) {
	for range n {
		k := next()
		size, op := keySize, byte(0x01)
		if set {
			size, op = 4+keySize+value, 0x02
		}
		c.out = binary.BigEndian.AppendUint32(c.out, uint32(8+size))
		c.out = append(c.out, op, 0, 0, 0)
		c.out = binary.BigEndian.AppendUint32(c.out, uint32(k))
		if set {
			c.out = binary.BigEndian.AppendUint32(c.out, keySize)
		}
		c.out = appendKey(c.out, k)
		if set {
			c.out = appendValue(c.out, k, value)
		}
	}
	c.open = n
}

func (frames) Answers(c *Conn, b []byte) (used int, err error) {
	for c.open > 0 && len(b)-used >= 12 {
		f := b[used:]
		size := 4 + int(binary.BigEndian.Uint32(f))
		if len(f) < size {
			break
		}
		if f[5] != 0 {
			return used, fmt.Errorf("kvd answers with status %d: %q", f[5], f[12:size])
		}
		if c.value >= 0 && size != 12+c.value {
			return used, fmt.Errorf("a value has %d bytes rather than %d", size-12, c.value)
		}
		used += size
		c.open--
	}
	return used, nil
}

// redis is RESP. A batch of sets ends with a WAIT for so many replicas; 0: it does not.
type redis struct{ wait int }

func (redis) Hello(dst []byte) []byte { return dst }

func (r redis) Batch(c *Conn, n int, set bool, next func() int, value int) {
	for range n {
		k := next()
		if !set {
			c.out = append(c.out, "*2\r\n$3\r\nGET\r\n$16\r\n"...)
			c.out = append(appendKey(c.out, k), "\r\n"...)
			continue
		}
		c.out = append(c.out, "*3\r\n$3\r\nSET\r\n$16\r\n"...)
		c.out = append(appendKey(c.out, k), "\r\n"...)
		c.out = fmt.Appendf(c.out, "$%d\r\n", value)
		c.out = append(appendValue(c.out, k, value), "\r\n"...)
	}
	c.open = n
	if set && r.wait > 0 {
		c.out = fmt.Appendf(c.out, "*3\r\n$4\r\nWAIT\r\n$1\r\n%d\r\n$1\r\n0\r\n", r.wait)
		c.open++
	}
}

func (r redis) Answers(c *Conn, b []byte) (used int, err error) {
	for c.open > 0 {
		f := b[used:]
		end := bytes.IndexByte(f, '\n')
		if end < 0 {
			break
		}
		size := end + 1
		switch f[0] {
		case '+':
		case ':':
			if f[1] < byte('0'+r.wait) {
				return used, errors.New("too few replicas have it")
			}
		case '$':
			n := 0
			for _, d := range f[1 : end-1] {
				n = n*10 + int(d) - '0'
			}
			if n != c.value {
				return used, fmt.Errorf("a value is %q bytes long rather than %d", f[1:end-1], c.value)
			}
			size += n + 2
		default:
			return used, fmt.Errorf("an answer of %q", f[:end-1])
		}
		if len(f) < size {
			break
		}
		used += size
		c.open--
	}
	return used, nil
}
