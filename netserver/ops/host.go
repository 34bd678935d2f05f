package ops

import (
	"fmt"
	"net/http"
	"os"

	"kv/netserver/internal/ownsite"
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
		at, known := ownsite.LocalAddress(r)
		switch {
		case !ownsite.Asks(r):
			http.Error(w, "not for a page of another site", http.StatusForbidden)
		case !ownsite.Names(r.Host, machine) && (!known || at.IsLoopback()):
			http.Error(w, fmt.Sprintf("%q is no name of this server: use its IP address, or localhost", r.Host),
				http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// ownMachine passes on to h only what was asked for on this machine: what came to a loopback address, and was not passed on by
// a proxy that says so.
func ownMachine(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownsite.OnThisMachine(r) {
			http.Error(w, "profiles are for this machine alone: ask for them on it, by a loopback address", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
