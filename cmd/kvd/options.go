package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kv/netserver"
	"kv/protocol"
	"kv/store/vfs"
	"kv/store/wal"
)

// options are kvd's flags.
type options struct {
	listen          addresses
	unixMode        fileMode
	data            place
	sync            string
	maxMemory       size
	maxFrame        size
	maxClientOutput size
	maxConnections  int
	history         int
	historyAge      duration
	evict           string
	frameTimeout    duration
	writeTimeout    duration
	http            place
	httpAPI         bool
	tlsCert         place
	tlsKey          place
	tlsClientCA     place
	authFile        place
	drain           duration
	insecure        bool
	resp            bool
	peers           peers

	warnings []string // about how they were given
	fs       vfs.FS   // for the data folder; nil: the operating system's
}

// place is an address, a file or a folder as a flag. It can be left out, but not be empty: that is what a variable gives which
// was never set, and without users, TLS or a data folder the server would start all the same.
type place string

// Set takes a place.
func (p *place) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("the value is empty: name one, or leave the option out")
	}
	*p = place(text)
	return nil
}

// String returns the place.
func (p *place) String() string { return string(*p) }

// Type is the flag's type in --help.
func (p *place) Type() string { return "string" }

// The values of --evict.
const (
	evictNone  = "none"
	evictSieve = "sieve"
)

// minMemory is what an empty store and its first connections need.
const minMemory = 4 << 20

func (o *options) define(f *pflag.FlagSet) {
	f.SortFlags = false
	o.listen.list = []string{"127.0.0.1:7070"}
	f.Var(&o.listen, "listen", "address to serve on, HOST:PORT (port 0 takes a free one) or unix:PATH; it may be given several times, or name several, separated by commas")
	o.unixMode = 0o600
	f.Var(&o.unixMode, "unix-mode", "mode of the Unix sockets of --listen and --http: who may write to one may connect")
	f.Var(&o.data, "data", "folder to keep the data in, made if missing; none: all is in memory only")
	f.StringVar(&o.sync, "sync", wal.Interval.String(), "when a write is safe from a crash of the machine: always (before it is answered), interval (within a second), never (when the system likes)")
	o.maxMemory = size(defaultMemory(grantedMemory()))
	f.Var(&o.maxMemory, "max-memory", "memory for data, history, requests and answers; the default is 75% of what the machine or the control group has, less 64 MiB")
	o.maxFrame = protocol.DefaultLimit
	f.Var(&o.maxFrame, "max-frame", "the longest request")
	f.Var(&o.maxClientOutput, "max-client-output", "memory that the answers to one client may hold until it reads them; 0: about a tenth of --max-memory, 280 MiB at most")
	f.IntVar(&o.maxConnections, "max-connections", netserver.DefaultMaxConnections, "connections at a time")
	f.StringVar(&o.evict, "evict", evictNone, "what makes room when memory is full: none (writes are refused), sieve (keys that were not asked for lately are deleted); not with --history")
	f.IntVar(&o.history, "history", 0, "earlier versions to keep of each key, besides the current one")
	f.Var(&o.historyAge, "history-age", "how long to keep an earlier version once another has taken its place, or the key was deleted or has expired; 0: as long as --history says")
	o.frameTimeout, o.writeTimeout = duration(netserver.DefaultFrameTimeout), duration(netserver.DefaultWriteTimeout)
	f.Var(&o.frameTimeout, "frame-timeout", "how long a request may take to arrive; large ones get a second more for each 64 KiB")
	f.Var(&o.writeTimeout, "write-timeout",
		"how long a client may take nothing of its answers; each 64 KiB that it takes count as a second")
	f.BoolVar(&o.resp, "resp", true, "serve clients of Redis and Valkey too, which speak RESP, on the same address")
	f.Var(&o.http, "http", "address for metrics and health, HOST:PORT or unix:PATH, for keys and values (see --http-api), and, to this machine alone, for profiles; none: they are not served")
	f.BoolVar(&o.httpAPI, "http-api", true, "serve keys and values on --http too, below /v1/: to the users of --auth-file, or, without one, to this machine alone; not with --tls-client-ca")
	f.Var(&o.tlsCert, "tls-cert", "file with the server's certificate; with it, TLS is spoken")
	f.Var(&o.tlsKey, "tls-key", "file with the certificate's key")
	f.Var(&o.tlsClientCA, "tls-client-ca", "file with the authority that clients' certificates must come from")
	f.Var(&o.authFile, "auth-file", "file with the users that may connect; see kvd token")
	o.drain = duration(defaultDrain)
	f.Var(&o.drain, "drain", "how long the end may take, for requests that have arrived")
	f.BoolVar(&o.insecure, "insecure", false, "allow everyone who reaches this machine to connect, where --listen lets them")
	o.peers.define(f)
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Value != &o.listen { // which adds up
			flag.Value = &lastWins{flag.Value, flag, &o.warnings}
		}
	})
}

// lastWins is a flag's value that warns when the flag is given again, with something else. Its errors say what is right.
type lastWins struct {
	pflag.Value
	flag     *pflag.Flag
	warnings *[]string
}

// Set takes a value.
func (v *lastWins) Set(text string) error {
	before := v.String()
	err := v.Value.Set(text)
	if errors.As(err, new(*strconv.NumError)) {
		kind := map[string]string{"int": "a whole number", "bool": "true or false"}[v.Type()]
		return fmt.Errorf("%q is not %s", text, kind)
	}
	if after := v.String(); err == nil && v.flag.Changed && after != before {
		*v.warnings = append(*v.warnings, fmt.Sprintf("--%s is given twice: %s is ignored, %s wins", v.flag.Name, before, after))
	}
	return err
}

// check refuses what can't work, with what would.
func (o *options) check() error {
	for _, address := range o.listen.list {
		if err := checkAt("--listen", address); err != nil {
			return err
		}
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
	case o.evict != evictNone && o.evict != evictSieve:
		return fmt.Errorf("--evict %q: it is none or sieve", o.evict)
	case o.evict != evictNone && o.history > 0:
		return errors.New("--evict and --history exclude each other: what is evicted would be kept")
	case o.history < 0:
		return fmt.Errorf("--history %d: it is 0, for none, or more", o.history)
	case o.historyAge != 0 && o.historyAge < duration(time.Millisecond):
		return fmt.Errorf("--history-age %v: it is 1ms or more, or 0", time.Duration(o.historyAge))
	case o.historyAge != 0 && o.history == 0:
		return errors.New("--history-age needs --history: without it no earlier versions are kept")
	case o.frameTimeout == 0 || o.writeTimeout == 0:
		return errors.New("--frame-timeout and --write-timeout must be above 0")
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return errors.New("--tls-cert and --tls-key go together, and one is missing")
	case o.tlsClientCA != "" && o.tlsCert == "":
		return errors.New("--tls-client-ca needs --tls-cert and --tls-key")
	}
	if err := o.checkShares(); err != nil {
		return err
	}
	if err := o.peers.check(o); err != nil {
		return err
	}
	if o.http != "" {
		if err := checkAt("--http", string(o.http)); err != nil {
			return err
		}
	}
	for _, address := range o.listen.list {
		if !loopback(address) && o.authFile == "" && o.tlsClientCA == "" && !o.insecure {
			return fmt.Errorf("--listen %s: everyone who reaches this machine could read and write; say who may with --auth-file or --tls-client-ca, or allow it with --insecure", address)
		}
	}
	return nil
}

// checkAt refuses what is no address to listen at, TCP's or a Unix socket's.
func checkAt(flag, address string) error {
	if _, ok := unixPath(address); ok {
		return checkUnix(flag, address)
	}
	return checkAddress(flag, address)
}

func checkAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
	case port == "": // of HOST:$UNSET; it would be taken for 0
		err = errors.New("the port is empty; 0 is any that is free")
	default:
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%s %q is not an address such as 127.0.0.1:7070 or :7070: %w", flag, address, err)
	}
	return nil
}

// loopback reports whether only this machine can reach a listener on the address.
func loopback(address string) bool {
	if _, ok := unixPath(address); ok {
		return true
	}
	a, err := net.ResolveTCPAddr("tcp", address)
	return err == nil && a.IP.IsLoopback()
}

// onThisMachine reports whether only this machine can reach a listener that has the address.
func onThisMachine(a net.Addr) bool { return a.Network() == "unix" || loopback(a.String()) }
