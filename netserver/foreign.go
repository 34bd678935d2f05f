package netserver

import "bytes"

// foreign says what the first bytes of a stream that is not ours look like.
func foreign(b []byte) string {
	for _, f := range foreigners {
		if bytes.HasPrefix(b, []byte(f.prefix)) {
			return f.name
		}
	}
	return "an unknown protocol"
}

var foreigners = []struct{ prefix, name string }{
	{"SSH-", "SSH"},
	{"PRI * HTTP/2", "HTTP/2"},
	{"GET ", "HTTP"}, {"HEAD ", "HTTP"}, {"POST ", "HTTP"}, {"PUT ", "HTTP"}, {"DELETE ", "HTTP"},
	{"OPTIONS ", "HTTP"}, {"PATCH ", "HTTP"}, {"CONNECT ", "HTTP"}, {"TRACE ", "HTTP"},
	{"*", "Redis (RESP)"}, {"PING\r", "Redis (RESP)"}, {"$", "Redis (RESP)"},
	{"\x16\x03", "TLS"},
	{"get ", "memcached"}, {"set ", "memcached"}, {"version", "memcached"}, {"\x80\x00", "memcached"},
	{"\x00\x00\x00\x00", "a kv frame with a length of 0"},
}
