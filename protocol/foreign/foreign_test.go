package foreign

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kv/protocol"
)

func TestForeign(t *testing.T) {
	for _, tt := range []struct{ b, client, server string }{
		{"", "", ""},
		{"GET / HTTP/1.1\r\n", "HTTP", ""},
		{"HTTP/1.1 400 Bad Request\r\n", "", "HTTP"},
		{"PRI * HTTP/2.0\r\n\r\nSM", "HTTP/2", ""},
		{"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00", "", "HTTP/2"},
		{"*1\r\n$4\r\nPING\r\n", "Redis (RESP)", "Redis (RESP)"},
		{"-ERR unknown command\r\n", "", "Redis (RESP)"},
		{"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH", "SSH"},
		{"\x16\x03\x01\x02\x00", "TLS", "TLS"},
		{"\x15\x03\x01\x00\x02\x02\x46", "", "TLS"},
		{"get a\r\n", "memcached", ""},
		{"ERROR\r\n", "", "memcached"},
		{"J\x00\x00\x00\n8.0.36\x00", "", "MySQL"},
		{"J\x00\x00\x00\n", "", ""},
		{"\x00\x00\x00\x00\x10\x00\x00\x00", "a kv frame with a length of 0", ""},
		{"welcome, stranger", "", ""},
		{string(protocol.AppendHeader(nil, protocol.OpPing, 0, 1, 0)), "", ""},
	} {
		require.Equal(t, tt.client, Client([]byte(tt.b)), "%q", tt.b)
		require.Equal(t, tt.server, Server([]byte(tt.b)), "%q", tt.b)
	}
}
