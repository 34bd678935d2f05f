package rest_test

import (
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/rest"
	"kv/store"
)

// Benchmark measures requests over loopback, one at a time on each connection, client included.
func Benchmark(b *testing.B) {
	st, err := store.Open(store.Options{})
	require.NoError(b, err)
	defer st.Close()
	srv, err := netserver.New(netserver.Config{Store: st})
	require.NoError(b, err)
	web := httptest.NewServer(rest.Handler(rest.Config{Server: func() *netserver.Server { return srv }}))
	defer web.Close()
	value := strings.Repeat("v", 32)
	for name, text := range map[string]string{
		"GET": "GET /v1/keys/k HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"PUT": "PUT /v1/keys/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 32\r\n\r\n" + value,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				c, err := net.Dial("tcp", web.Listener.Addr().String())
				require.NoError(b, err)
				defer c.Close()
				buf := make([]byte, 4096)
				for p.Next() {
					if _, err := io.WriteString(c, text); err != nil {
						b.Error(err)
						return
					}
					if _, err := c.Read(buf); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
