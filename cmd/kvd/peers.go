package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"kv/store/wal"
)

// peers are the options of a server that is one of a cluster.
type peers struct {
	listen    place  // where the other servers connect
	advertise place  // CLIENT,PEER: where clients and the other servers are to connect
	founders  string // the peer addresses of those that found the cluster, separated by commas; "": the server is alone
	retainLog size   // bytes of the log for servers that are away; 0: as many as the data take
	cert, key place
	ca        place
}

func (p *peers) define(f *pflag.FlagSet) {
	f.StringVar(&p.founders, "peers", "", "the addresses, HOST:PORT, at which the servers of the cluster reach each other, separated by commas: those that found it, the same list on all; none: the server is alone")
	f.Var(&p.listen, "peer-listen", "address to serve the other servers of the cluster on, HOST:PORT")
	f.Var(&p.advertise, "advertise", "where this server is reached, by clients and by the other servers: HOST:PORT,HOST:PORT; the default is what --listen and --peer-listen say")
	f.Var(&p.retainLog, "peer-log", "how much of the log is kept for servers that are away, so that they need no copy of all data; 0: as much as the data take, from 64 MiB to 4 GiB")
	f.Var(&p.cert, "peer-tls-cert",
		"file with the certificate to show the other servers, whose name is the host that they reach this one at")
	f.Var(&p.key, "peer-tls-key", "file with that certificate's key")
	f.Var(&p.ca, "peer-tls-ca", "file with the authority that the other servers' certificates come from")
}

// clustered reports whether the server is one of a cluster.
func (p *peers) clustered() bool { return p.founders != "" }

// list is the founders' addresses.
func (p *peers) list() (all []string) {
	for address := range strings.SplitSeq(p.founders, ",") {
		all = append(all, spelled(address))
	}
	return all
}

// spelled returns an address in the one spelling for its host and port: nodes compare addresses as text. A text that is
// no address is returned as it is.
func spelled(address string) string {
	address = strings.TrimSpace(address)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	} else {
		host = strings.ToLower(host)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		port = strconv.FormatUint(n, 10)
	}
	return net.JoinHostPort(host, port)
}

// addresses are where clients and the other servers reach this one. check has found them good.
func (p *peers) addresses(o *options) (client, peer string) {
	if p.advertise != "" {
		client, peer, _ = strings.Cut(string(p.advertise), ",")
		return spelled(client), spelled(peer)
	}
	return spelled(o.firstTCP()), spelled(string(p.listen))
}

// firstTCP is the first address of --listen that is no Unix socket; "": there is none.
func (o *options) firstTCP() string {
	for _, address := range o.listen.list {
		if _, unix := unixPath(address); !unix {
			return address
		}
	}
	return ""
}

// check refuses what can't work, with what would.
func (p *peers) check(o *options) error {
	if !p.clustered() {
		for _, f := range []struct {
			name  string
			value place
		}{
			{"peer-listen", p.listen}, {"advertise", p.advertise}, {"peer-tls-cert", p.cert}, {"peer-tls-key", p.key}, {"peer-tls-ca", p.ca},
		} {
			if f.value != "" {
				return fmt.Errorf("--%s needs --peers: without it the server is alone", f.name)
			}
		}
		if p.retainLog != 0 {
			return errors.New("--peer-log needs --peers: without it the server is alone")
		}
		return nil
	}
	seen := make(map[string]bool)
	for _, address := range p.list() {
		if err := checkReachable("--peers", address); err != nil {
			return err
		}
		if seen[address] {
			return fmt.Errorf("--peers %s: %s is there twice", p.founders, address)
		}
		seen[address] = true
	}
	switch {
	case p.listen == "":
		return errors.New("--peers needs --peer-listen, the address where the other servers connect to this one")
	case o.data == "":
		return errors.New("--peers needs --data: what a majority has acknowledged must be on its disks")
	case o.sync != wal.Always.String():
		return fmt.Errorf("--peers needs --sync always, and it is %s: a server that forgets what it has acknowledged would lose it for the cluster", o.sync)
	case o.evict != evictNone:
		return errors.New("--peers and --evict exclude each other: what a server evicts by itself, the others would keep")
	case (p.cert == "") != (p.key == "") || (p.cert == "") != (p.ca == ""):
		return errors.New("--peer-tls-cert, --peer-tls-key and --peer-tls-ca go together, and one is missing")
	}
	if err := checkAddress("--peer-listen", string(p.listen)); err != nil {
		return err
	}
	if !loopback(string(p.listen)) && p.cert == "" && !o.insecure {
		return fmt.Errorf("--peer-listen %s: everyone who reaches this machine could write as a server of the cluster; say who is one with --peer-tls-cert, --peer-tls-key and --peer-tls-ca, or allow it with --insecure", p.listen)
	}
	if p.advertise != "" && strings.Count(string(p.advertise), ",") != 1 {
		return fmt.Errorf("--advertise %q is not an address for clients and one for the other servers, such as n1:7070,n1:7071", p.advertise)
	}
	client, peer := p.addresses(o)
	return errors.Join(checkReachable("--advertise for clients", client),
		checkReachable("--advertise for the other servers", peer))
}

// checkReachable refuses an address that others can't connect to.
func checkReachable(flag, address string) error {
	host, port, err := net.SplitHostPort(address)
	n, e := strconv.ParseUint(port, 10, 16)
	ip, ipErr := netip.ParseAddr(host)
	if err != nil || e != nil || host == "" || n == 0 || ipErr == nil && ip.IsUnspecified() {
		return fmt.Errorf("%s %q: others need a host and a port to connect to, such as n1.example:7071", flag, address)
	}
	return nil
}
