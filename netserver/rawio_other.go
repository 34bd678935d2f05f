//go:build !unix

package netserver

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns nil: here, every connection is read as a stream.
func rawConn(net.Conn) syscall.RawConn { return nil }

type receipt struct{}

func readFD(int, []byte, *receipt) (int, bool, error) { return 0, false, errors.ErrUnsupported }
func writeFD(int, []byte) (int, error)                { return 0, errors.ErrUnsupported }
