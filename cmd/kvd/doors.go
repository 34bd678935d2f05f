package main

import (
	"cmp"
	"net"
	"strconv"
	"strings"

	"kv/netserver"
	"kv/netserver/resp"
)

// doors are the protocols that are spoken besides kv frames. stop ends the server in order.
func (o *options) doors(stop func()) []netserver.Door {
	if !o.resp {
		return nil
	}
	return []netserver.Door{resp.New(resp.Options{Settings: o.redisSettings, Shutdown: stop})}
}

// redisSettings are options under the names that Redis has for them.
func (o *options) redisSettings() map[string]string {
	var hosts []string
	port, socket := "0", ""
	for _, address := range o.listen.list {
		if path, ok := unixPath(address); ok {
			socket = cmp.Or(socket, path)
		} else if host, p, err := net.SplitHostPort(address); err == nil {
			if hosts = append(hosts, host); len(hosts) == 1 {
				port = p
			}
		}
	}
	policy := "noeviction"
	if o.evict == evictSieve {
		policy = "allkeys-lru" // the nearest that Redis has a name for
	}
	return map[string]string{
		"maxmemory-policy": policy,
		"bind":             strings.Join(hosts, " "),
		"port":             port,
		"unixsocket":       socket,
		"unixsocketperm":   o.unixMode.String(),
		"dir":              string(o.data),
		"maxclients":       strconv.Itoa(o.maxConnections),
	}
}
