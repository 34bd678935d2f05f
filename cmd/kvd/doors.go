package main

import (
	"net"
	"strconv"

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
	host, port, _ := net.SplitHostPort(string(o.listen))
	return map[string]string{
		"bind":       host,
		"port":       port,
		"dir":        string(o.data),
		"maxclients": strconv.Itoa(o.maxConnections),
	}
}
