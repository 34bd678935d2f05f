package main

import (
	"fmt"
	"log/slog"
)

// fileDescriptors are kept for what is no connection: the log and its successor, a snapshot, folders, listeners,
// standard streams, what the Go runtime and a look at the system need. Without them a rotation or a snapshot would fail
// because there are many clients.
const fileDescriptors = 32

// connectionLimits are how many connections there may be at a time.
type connectionLimits struct {
	clients int
	pages   int // of --http
}

// What an idle connection takes, of the process and of the system.
const (
	connectionBytes = 8 << 10
	secureBytes     = 40 << 10 // with TLS
)

// connectionsFor is how many connections there is memory for where so much is granted: they may have what --max-memory and the
// collector leave, and an eighth at least.
func connectionsFor(maxMemory, granted int64, secure bool) int {
	room := max(granted/8, granted-systemBytes(granted)-heapLimit(maxMemory, granted))
	if secure {
		return int(room / secureBytes)
	}
	return int(room / connectionBytes)
}

// connectionLimit is what descriptors and memory leave of --max-connections: less is warned of, none an error.
func connectionLimit(o options, granted int64, log *slog.Logger) (connectionLimits, error) {
	asked := o.maxConnections
	if most := connectionsFor(int64(o.maxMemory), granted, o.tlsCert != ""); most < o.maxConnections {
		log.Warn("--max-connections is lowered to what there is memory for", "granted", size(granted).String(),
			"max_connections", most, "asked", asked)
		o.maxConnections = most
	}
	descriptors := descriptorLimit()
	limits, ok := divideDescriptors(descriptors, o.maxConnections, o.http != "")
	if !ok {
		return limits, fmt.Errorf("a limit of %d file descriptors leaves none for clients: raise it (ulimit -Hn) to %d at least", descriptors, leastDescriptors)
	}
	if limits.clients < o.maxConnections {
		log.Warn("--max-connections is lowered to what the limit of file descriptors leaves: raise that (ulimit -Hn)",
			"descriptors", descriptors, "max_connections", limits.clients, "asked", asked)
	}
	return limits, nil
}

// leastDescriptors is the least limit that divideDescriptors takes, pages or not.
const leastDescriptors = fileDescriptors + 4 + 8 + 1

// divideDescriptors divides so many descriptors: some for files, a sixteenth for pages, though no more than 64 or a sixteenth of
// the clients', and as many of the clients' as may be told at a time that there are too many (see
// netserver.Config.MaxConnections) on top of those. It returns false if none is left.
func divideDescriptors(descriptors, clients int, pages bool) (l connectionLimits, ok bool) {
	left := descriptors - fileDescriptors
	if pages {
		l.pages = min(max(descriptors/16, 4), max(clients/16, 64))
		left -= l.pages
	}
	// An eighth of the clients is told, 8 at least and 64 at most.
	left -= min(max(left/9+1, 8), 64)
	l.clients = min(clients, left)
	return l, left >= 1
}
