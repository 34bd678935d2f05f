package files

import (
	"errors"
	"os"
)

// standard are the streams that a program begins with.
var standard = []*os.File{os.Stdin, os.Stdout, os.Stderr}

// Closed reports whether f, one of the standard streams, was closed when the program began.
//
// Nobody can tell for sure: before any code of ours runs, Go opens /dev/null for reading and writing in the place of a
// stream that is closed. So a stream counts as closed that is such a /dev/null and shares it with no other. A redirection
// by a shell, or a service manager, opens it in one direction; daemon(3) opens it for all three at once.
func Closed(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return true
	}
	null, err := os.Stat(os.DevNull)
	if err != nil || !os.SameFile(info, null) {
		return false
	}
	if !bothWays(f) {
		return false
	}
	for _, other := range standard {
		if other.Fd() != f.Fd() && shares(f, other) {
			return false
		}
	}
	return true
}

// ClosedStream stands for a standard stream that is [Closed]: whoever reads or writes is told so. An error of writing does not
// name the stream.
type ClosedStream string

func (c ClosedStream) Read([]byte) (int, error) { return 0, errors.New(string(c) + " is closed") }

func (c ClosedStream) Write([]byte) (int, error) {
	return 0, errors.New("the file is closed, or is /dev/null opened for reading and writing, which looks the same")
}
