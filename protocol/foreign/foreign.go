// Package foreign recognises the clients and servers of other protocols by how they begin, so that a message can name
// the protocol.
package foreign

import "bytes"

// clients are how the clients of other protocols begin.
var clients = []beginning{
	{"SSH-", "SSH"},
	{"PRI * HTTP/2", "HTTP/2"},
	{"GET ", "HTTP"}, {"HEAD ", "HTTP"}, {"POST ", "HTTP"}, {"PUT ", "HTTP"}, {"DELETE ", "HTTP"},
	{"OPTIONS ", "HTTP"}, {"PATCH ", "HTTP"}, {"CONNECT ", "HTTP"}, {"TRACE ", "HTTP"},
	{"*", "Redis (RESP)"}, {"PING\r", "Redis (RESP)"}, {"$", "Redis (RESP)"},
	{"\x16\x03", "TLS"},
	{"get ", "memcached"}, {"set ", "memcached"}, {"version", "memcached"}, {"\x80\x00", "memcached"},
	{"\x00\x00\x00\x00", "a kv frame with a length of 0"},
}

// servers are how the servers of other protocols begin: with a greeting, or with an answer to what they do not understand.
var servers = []beginning{
	{"HTTP/", "HTTP"}, {"<!DOCTYPE", "HTTP"}, {"<html", "HTTP"},
	{"-", "Redis (RESP)"}, {"+", "Redis (RESP)"}, {"$", "Redis (RESP)"}, {"*", "Redis (RESP)"},
	{"SSH-", "SSH"}, {"ERROR\r\n", "memcached"}, {"INFO {", "NATS"}, {"AMQP", "AMQP"}, {"RFB ", "VNC"},
	{"220", "SMTP or FTP"}, {"E\x00\x00\x00", "PostgreSQL"}, {"\x15\x03", "TLS"}, {"\x16\x03", "TLS"},
}

// beginning is how the streams of a protocol begin, and the name of the protocol.
type beginning struct{ bytes, protocol string }

func find(all []beginning, b []byte) string {
	for _, a := range all {
		if bytes.HasPrefix(b, []byte(a.bytes)) {
			return a.protocol
		}
	}
	return ""
}

// Client names the protocol of the client whose first bytes are b; "": none that is known.
func Client(b []byte) string { return find(clients, b) }

// Server names the protocol of the server whose first bytes are b; "": none that is known.
func Server(b []byte) string {
	if name := find(servers, b); name != "" {
		return name
	}
	switch {
	case len(b) < 9: // too short for the head of a frame of what follows
		return ""
	case b[3] == 0 && b[4] == 10: // the greeting: a length of three bytes, number 0, version 10
		return "MySQL"
	case b[0] == 0 && bytes.Equal(b[3:9], []byte{4, 0, 0, 0, 0, 0}): // SETTINGS of stream 0 behind a length of three bytes
		return "HTTP/2"
	}
	return ""
}
