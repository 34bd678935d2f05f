// Package ownsite tells requests of this machine's own from those that a web page of somebody else's has a browser make.
package ownsite

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Asks reports whether no browser says that it asks for a page of another site.
func Asks(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site == "" || site == "none" || site == "same-origin"
}

// OnThisMachine reports whether a request was made on this machine: whether it came to a loopback address, or over a Unix
// socket, and was not passed on by a proxy that says so.
func OnThisMachine(r *http.Request) bool {
	at, known := LocalAddress(r)
	return !PassedOn(r.Header) && (known && at.IsLoopback() || OverUnixSocket(r))
}

// OverUnixSocket reports whether a request came over a Unix socket, where no browser comes from.
func OverUnixSocket(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && local.Network() == "unix"
}

// PassedOn reports whether a proxy says that it passes a request on for somebody else.
func PassedOn(h http.Header) bool {
	return h.Get("Forwarded") != "" || h.Get("X-Forwarded-For") != "" || h.Get("Via") != ""
}

// Names reports whether nobody else can have host, which may have a port, resolve to an address of this machine, whose name
// is machine, or "". Browsers always send one.
func Names(host, machine string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || host == strings.ToLower(machine)
}

// LocalAddress is the address of this machine that the request came to, if that is known.
func LocalAddress(r *http.Request) (at netip.Addr, known bool) {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddrPort(local.String())
	return a.Addr().Unmap(), err == nil
}
