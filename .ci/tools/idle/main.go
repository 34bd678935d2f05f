// Command idle opens connections to a server, has one request answered on each, prints "ready", and keeps them open and
// silent until its stdin ends.
//
//	idle ADDR COUNT kv|resp|mc
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
)

// requests are the smallest ones of each protocol that a server answers.
var requests = map[string]string{
	"kv":   "\x00\x00\x00\x09\x01\x00\x00\x00\x00\x00\x00\x01k", // GET k
	"resp": "GET k\r\n",
	"mc":   "get k\r\n",
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 || requests[args[2]] == "" {
		return errors.New("usage: idle ADDR COUNT kv|resp|mc")
	}
	count, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	conns := make([]net.Conn, count)
	answer := make([]byte, 512)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", args[0]); err != nil {
			return fmt.Errorf("connection %d of %d: %w", i+1, count, err)
		}
		defer conns[i].Close()
		if _, err := io.WriteString(conns[i], requests[args[2]]); err != nil {
			return err
		}
		if _, err := conns[i].Read(answer); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
