package repl

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	defaultPort = "7070"
	defaultAddr = "127.0.0.1:" + defaultPort
)

// address is where a server is, or the servers of a cluster, and what their URL says of how to talk to them.
type address struct {
	hostPort string // several are separated by commas; or unix: and the whole path of a socket
	scheme   string // kv: without TLS, kvs: with it; "": it is no URL, and says nothing of that
	user     string // "": it names none
}

// String returns the address as parseAddr reads it.
func (a address) String() string {
	if a.scheme == "" {
		return a.hostPort
	}
	user := ""
	if a.user != "" {
		user = url.User(a.user).String() + "@"
	}
	return a.scheme + "://" + user + a.hostPort
}

var errAddress = errors.New("an address such as " + defaultAddr + ", db1.example (port " + defaultPort +
	"), kvs://ann@db1.example or unix:/run/kv/kv.sock")

// parseAddr reads HOST:PORT, HOST, :PORT (of this machine), or a URL: kv://USER@HOST:PORT, kvs:// with TLS, in which
// all but the host may be left out; or unix:PATH, a Unix socket. Several servers of a cluster are separated by commas,
// in a URL too. An IPv6 address may stand in brackets, and must where a port follows.
func parseAddr(s string) (address, error) {
	if path, ok := strings.CutPrefix(s, unixPrefix); ok {
		return parseUnix(path)
	}
	if !strings.Contains(s, "://") {
		hostPort, err := parseHosts(s)
		return address{hostPort: hostPort}, err
	}
	s, others := cutHosts(s)
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return address{}, errAddress
	case u.Scheme != "kv" && u.Scheme != "kvs":
		return address{}, fmt.Errorf("%w: the scheme is kv, or kvs for TLS", errAddress)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return address{}, fmt.Errorf("%w: nothing follows the port", errAddress)
	case strings.Contains(u.User.Username(), ","):
		return address{}, fmt.Errorf("%w: the user stands before the first server; one with a comma is for --user", errAddress)
	}
	if _, secret := u.User.Password(); secret {
		return address{}, fmt.Errorf("%w: a secret is in KV_SECRET or a file (--secret-file), never in an address, which others can see", errAddress)
	}
	hostPort, err := parseHosts(u.Host + others)
	return address{hostPort, u.Scheme, u.User.Username()}, err
}

// cutHosts cuts all hosts but the first out of a URL, which can have only one; each is behind a comma.
func cutHosts(s string) (first, others string) {
	scheme, rest, _ := strings.Cut(s, "://")
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@') + 1
	if i := strings.IndexByte(rest[at:end], ','); i >= 0 {
		others = rest[at+i : end]
		rest = rest[:at+i] + rest[end:]
	}
	return scheme + "://" + rest, others
}

// parseHosts completes the hosts and the ports of an address.
func parseHosts(s string) (string, error) {
	var all []string
	for host := range strings.SplitSeq(s, ",") {
		hostPort, err := parseHostPort(host)
		if err != nil {
			return "", err
		}
		all = append(all, hostPort)
	}
	return strings.Join(all, ","), nil
}

// unixPrefix begins the address of a Unix socket.
const unixPrefix = "unix:"

// parseUnix completes the path of a Unix socket. A URL's three slashes are as good as one.
func parseUnix(path string) (address, error) {
	if whole, ok := strings.CutPrefix(path, "///"); ok {
		path = "/" + whole
	}
	if path == "" || strings.HasPrefix(path, "//") || strings.Contains(path, ",") ||
		strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return address{}, fmt.Errorf("%w: after unix: comes the path of a socket, without commas, and no other server", errAddress)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return address{}, fileError{err}
	}
	return address{hostPort: unixPrefix + path}, nil
}

// unix reports whether the address is that of a Unix socket.
func (a address) unix() bool { return strings.HasPrefix(a.hostPort, unixPrefix) }

// parseHostPort completes the host and the port of an address.
func parseHostPort(s string) (string, error) {
	host, port := s, defaultPort
	inner, bracketed := strings.CutPrefix(s, "[")
	if inner, closed := strings.CutSuffix(inner, "]"); bracketed && closed {
		host = inner
	} else if bracketed || strings.Count(s, ":") == 1 {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", errAddress
		}
		if host == "" && s != ":" {
			host = "127.0.0.1"
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%w: a port is a number from 1 to 65535", errAddress)
	}
	if _, err := strconv.Atoi(host); err == nil {
		return "", fmt.Errorf("%w: a port alone is :%s", errAddress, host)
	}
	if strings.Contains(host, ":") || bracketed {
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", errAddress
		}
	} else if host == "" || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("/@,;?#[]%\\\"'", r) }) {
		return "", errAddress
	}
	return net.JoinHostPort(host, port), nil
}
