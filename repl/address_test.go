package repl

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAddresses(t *testing.T) {
	here, err := os.Getwd()
	require.NoError(t, err)
	for s, want := range map[string]address{
		"127.0.0.1:7070":                {hostPort: "127.0.0.1:7070"},
		"localhost:1":                   {hostPort: "localhost:1"},
		"db1.example":                   {hostPort: "db1.example:7070"},
		"10.0.0.7":                      {hostPort: "10.0.0.7:7070"},
		"my_host-1":                     {hostPort: "my_host-1:7070"},
		":7071":                         {hostPort: "127.0.0.1:7071"},
		"::1":                           {hostPort: "[::1]:7070"},
		"[::1]":                         {hostPort: "[::1]:7070"},
		"[::1]:7071":                    {hostPort: "[::1]:7071"},
		"fe80::1%eth0":                  {hostPort: "[fe80::1%eth0]:7070"},
		"unix:/run/kv/kv.sock":          {hostPort: "unix:/run/kv/kv.sock"},
		"unix:///run/kv/kv.sock":        {hostPort: "unix:/run/kv/kv.sock"},
		"unix:/run/./kv sock":           {hostPort: "unix:/run/kv sock"},
		"n1,n2:7071,[::1]:7072":         {hostPort: "n1:7070,n2:7071,[::1]:7072"},
		"kvs://ann@n1:7443,n2,n3:1":     {hostPort: "n1:7443,n2:7070,n3:1", scheme: "kvs", user: "ann"},
		"kv://[::1],n2/":                {hostPort: "[::1]:7070,n2:7070", scheme: "kv"},
		"unix:kv.sock":                  {hostPort: "unix:" + here + "/kv.sock"},
		"kv://db1.example":              {hostPort: "db1.example:7070", scheme: "kv"},
		"kv://db1.example/":             {hostPort: "db1.example:7070", scheme: "kv"},
		"kvs://ann@db1.example:7443":    {hostPort: "db1.example:7443", scheme: "kvs", user: "ann"},
		"KVS://ann%40example.com@[::1]": {hostPort: "[::1]:7070", scheme: "kvs", user: "ann@example.com"},
	} {
		a, err := parseAddr(s)
		assert.NoError(t, err, s)
		assert.Equal(t, want, a, s)
		again, err := parseAddr(a.String())
		assert.NoError(t, err, s)
		assert.Equal(t, a, again, s)
	}
	for s, says := range map[string]string{
		"": "", ":": "", "7070": "a port alone is :7070", "host:": "1 to 65535", "host:0": "1 to 65535", "host:65536": "1 to 65535", "host:http": "1 to 65535",
		"host:-1": "", "a:b:c": "", "[::1": "", "[::1]7070": "", "[host]:1": "", "[]:1": "", "two words": "", "host/x": "", "ann@host": "", "a,,b": "", "a,": "", ",a": "", "a,7070": "a port alone", "kv://a,": "", "kv://a,b/c": "nothing follows", "kv://a,ann@b": "", "unix:/a,n2": "no other server", "n1,unix:/a": "", "host\n": "",
		"http://host": "the scheme is kv", "redis://host": "the scheme is kv", "kv:host": "", "kv://": "", "kv://host/0": "nothing follows the port",
		"kv://host?tls=1": "nothing follows", "kv://host#x": "nothing follows", "kv://ann:secret@host": "never in an address", "kv://:secret@host": "never in an address",
		"unix:": "the path of a socket", "unix://host/path": "the path of a socket", "unix:a\nb": "the path of a socket",
		"kv://host:x": "", "kv://a b": "",
	} {
		_, err := parseAddr(s)
		assert.ErrorIs(t, err, errAddress, s)
		if err != nil {
			assert.Contains(t, err.Error(), says, s)
			assert.NotContains(t, err.Error(), "secret@", s)
		}
	}
}
