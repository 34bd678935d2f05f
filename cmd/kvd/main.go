// Command kvd is the kv server.
package main

import (
	"fmt"
	"net"
	"os"

	"kv/netserver"
	"kv/store"
)

func main() {
	st, err := store.Open(store.Options{})
	if err != nil {
		panic(err)
	}
	s, err := netserver.New(netserver.Config{Store: st})
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, "listening on", l.Addr())
	s.Serve(l)
}
