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
// So a request must name the server by an address, as localhost or by the machine's name. Where the listener is not on
// loopback, health and metrics are given under any name, since other machines know it by one; profiles are not.
func ownPages(h http.Handler) http.Handler {
	machine, _ := os.Hostname() // without one, no name is the machine's
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch site := r.Header.Get("Sec-Fetch-Site"); {
		case site != "" && site != "none" && site != "same-origin":
			http.Error(w, "not for a page of another site", http.StatusForbidden)
		case !ownHost(r.Host, machine) && (onLoopback(r) || strings.HasPrefix(r.URL.Path, "/debug/")):
			http.Error(w, fmt.Sprintf("%q is no name of this server: use its IP address, or localhost", r.Host), http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
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

// onLoopback reports whether the request came to a loopback address, or to one that is not known.
func onLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return true
	}
	a, err := netip.ParseAddrPort(local.String())
	return err != nil || a.Addr().Unmap().IsLoopback()
}
