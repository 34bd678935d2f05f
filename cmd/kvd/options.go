package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/spf13/pflag"

	"kv/netserver"
	"kv/protocol"
	"kv/store/wal"
)

// options are kvd's flags.
type options struct {
	listen         string
	data           string
	sync           string
	maxMemory      size
	maxFrame       size
	maxConnections int
	history        int
	frameTimeout   duration
	writeTimeout   duration
	http           string
	tlsCert        string
	tlsKey         string
	tlsClientCA    string
	authFile       string
	drain          duration
	insecure       bool
}

// minMemory is what an empty store and its first connections need.
const minMemory = 4 << 20

func (o *options) define(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&o.listen, "listen", "127.0.0.1:7070", "address to serve on, HOST:PORT; port 0 takes a free one")
	f.StringVar(&o.data, "data", "", "folder to keep the data in, made if missing; none: all is in memory only")
	f.StringVar(&o.sync, "sync", wal.Interval.String(), "when a write is safe from a crash of the machine: always (before it is answered), interval (within a second), never (when the system likes)")
	o.maxMemory = size(defaultMemory())
	f.Var(&o.maxMemory, "max-memory", "memory for data, history and requests; the default is 75% of what the machine or the control group has")
	o.maxFrame = protocol.DefaultLimit
	f.Var(&o.maxFrame, "max-frame", "the longest request")
	f.IntVar(&o.maxConnections, "max-connections", netserver.DefaultMaxConnections, "connections at a time")
	f.IntVar(&o.history, "history", 0, "earlier versions to keep of each key, besides the current one")
	o.frameTimeout, o.writeTimeout = duration(netserver.DefaultFrameTimeout), duration(netserver.DefaultWriteTimeout)
	f.Var(&o.frameTimeout, "frame-timeout", "how long a request may take to arrive; large ones get a second more for each 64 KiB")
	f.Var(&o.writeTimeout, "write-timeout", "how long a client may take nothing of its answers")
	f.StringVar(&o.http, "http", "", "address for metrics, health and profiles, HOST:PORT; none: they are not served")
	f.StringVar(&o.tlsCert, "tls-cert", "", "file with the server's certificate; with it, TLS is spoken")
	f.StringVar(&o.tlsKey, "tls-key", "", "file with the certificate's key")
	f.StringVar(&o.tlsClientCA, "tls-client-ca", "", "file with the authority that clients' certificates must come from")
	f.StringVar(&o.authFile, "auth-file", "", "file with the users that may connect; see kvd token")
	o.drain = duration(defaultDrain)
	f.Var(&o.drain, "drain", "how long the end may take, for requests that have arrived")
	f.BoolVar(&o.insecure, "insecure", false, "allow everyone who reaches this machine to connect, where --listen and --http let them")
}

// check refuses what can't work, with what would.
func (o *options) check() error {
	if err := checkAddress("--listen", o.listen); err != nil {
		return err
	}
	if _, err := wal.ParsePolicy(o.sync); err != nil {
		return fmt.Errorf("--sync: %w", err)
	}
	switch {
	case o.maxMemory < minMemory:
		return fmt.Errorf("--max-memory %v: at least %v are needed", o.maxMemory, size(minMemory))
	case o.maxFrame < 64 || o.maxFrame > protocol.MaxLimit:
		return fmt.Errorf("--max-frame %v: it is from 64 to %v", o.maxFrame, size(protocol.MaxLimit))
	case o.maxConnections < 1:
		return fmt.Errorf("--max-connections %d: at least 1 is needed", o.maxConnections)
	case o.history < 0:
		return fmt.Errorf("--history %d: it is 0, for none, or more", o.history)
	case o.frameTimeout == 0 || o.writeTimeout == 0:
		return errors.New("--frame-timeout and --write-timeout must be above 0")
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return errors.New("--tls-cert and --tls-key go together, and one is missing")
	case o.tlsClientCA != "" && o.tlsCert == "":
		return errors.New("--tls-client-ca needs --tls-cert and --tls-key")
	}
	if o.http != "" {
		if err := checkAddress("--http", o.http); err != nil {
			return err
		}
		if !loopback(o.http) && !o.insecure {
			return fmt.Errorf("--http %s: other machines could read metrics and profiles without asking; give it a loopback address such as 127.0.0.1:9090, or allow it with --insecure", o.http)
		}
	}
	if !loopback(o.listen) && o.authFile == "" && o.tlsClientCA == "" && !o.insecure {
		return fmt.Errorf("--listen %s: everyone who reaches this machine could read and write; say who may with --auth-file or --tls-client-ca, or allow it with --insecure", o.listen)
	}
	return nil
}

func checkAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%s %q is not an address such as 127.0.0.1:7070 or :7070: %w", flag, address, err)
	}
	return nil
}

// loopback reports whether only this machine can reach a listener on the address.
func loopback(address string) bool {
	a, err := net.ResolveTCPAddr("tcp", address)
	return err == nil && a.IP.IsLoopback()
}
