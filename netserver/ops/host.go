package ops

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// ownPages passes on to h only what no web page of somebody else's can have asked for. A browser on this machine, or in its
// network, would fetch for such a page whatever it can reach: under the page's own name, if that resolves to an address of
// this server (DNS rebinding), or as a request to another site, whose answer the page can't read, but which has been made.
//
// So a request must name the server by an address, as localhost or by the machine's name. Where it did not come to a loopback
// address, it may have any name, since other machines know the server by one.
func ownPages(h http.Handler) http.Handler {
	machine, _ := os.Hostname() // without one, no name is the machine's
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, known := localAddress(r)
		switch site := r.Header.Get("Sec-Fetch-Site"); {
		case site != "" && site != "none" && site != "same-origin":
			http.Error(w, "not for a page of another site", http.StatusForbidden)
		case !ownHost(r.Host, machine) && (!known || at.IsLoopback()):
			http.Error(w, fmt.Sprintf("%q is no name of this server: use its IP address, or localhost", r.Host), http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// ownMachine passes on to h only what was asked for on this machine: what came to a loopback address, and was not passed on by
// a proxy that says so.
func ownMachine(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if at, known := localAddress(r); !known || !at.IsLoopback() || passedOn(r.Header) {
			http.Error(w, "profiles are for this machine alone: ask for them on it, by a loopback address", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// passedOn reports whether a proxy says that it passes a request on for somebody else.
func passedOn(h http.Header) bool {
	return h.Get("Forwarded") != "" || h.Get("X-Forwarded-For") != "" || h.Get("Via") != ""
}

// ownHost reports whether nobody else can have host, which may have a port, resolve to an address of this server. Browsers
// always send one.
func ownHost(host, machine string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || host == strings.ToLower(machine)
}

// localAddress is the address of this machine that the request came to, if that is known.
func localAddress(r *http.Request) (at netip.Addr, known bool) {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddrPort(local.String())
	return a.Addr().Unmap(), err == nil
}
