package repl_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"

	"kv/protocol"
	"kv/repl"
)

// answering is the script of a server that greets, and answers each other request with what answer returns; nil: not at
// all.
func answering(answer func(h protocol.Header, body []byte) []byte) func(net.Conn) {
	return func(conn net.Conn) {
		head := make([]byte, protocol.HeaderSize)
		for {
			if _, err := io.ReadFull(conn, head); err != nil {
				return
			}
			h := protocol.ParseHeader(head)
			body := make([]byte, h.BodySize())
			if _, err := io.ReadFull(conn, body); err != nil {
				return
			}
			if h.Opcode == protocol.OpHello {
				conn.Write(protocol.HelloResponse{Version: protocol.Version}.AppendTo(nil, h.ID))
			} else {
				conn.Write(answer(h, body))
			}
		}
	}
}

// run runs kvc in this process, with an empty stdin.
func run(environ map[string]string, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = repl.Main(context.Background(), repl.Env{
		In: strings.NewReader(""), Out: &out, Err: &errs,
		Getenv: func(name string) string { return environ[name] },
		Environ: func() (all []string) {
			for name, value := range environ {
				all = append(all, name+"="+value)
			}
			return all
		},
		Size: func() (int, int) { return 80, 24 },
	}, args)
	return out.String(), errs.String(), code
}
