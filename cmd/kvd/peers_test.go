package main

import (
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// TestPeers: what can't work in a cluster is refused, with what would.
func TestPeers(t *testing.T) {
	good := []string{"--data", "d", "--sync", "always", "--listen", "10.0.0.1:7070", "--insecure", "--peer-listen",
		"10.0.0.1:7071", "--peers", "n1:7071,n2:7071,n3:7071"}
	for _, test := range []struct {
		args []string
		says string
	}{
		{good, ""},
		{append(good, "--advertise", "n1:7070,n1:7071"), ""},
		{nil, ""},
		{[]string{"--peer-listen", "127.0.0.1:0"}, "--peer-listen needs --peers"},
		{[]string{"--advertise", "n1:1,n1:2"}, "--advertise needs --peers"},
		{[]string{"--peer-tls-ca", "f"}, "--peer-tls-ca needs --peers"},
		{append(good, "--peers", "n1:7071,n2"), `--peers "n2": others need a host and a port`},
		{append(good, "--peers", "n1:7071,"), `--peers "": others need`},
		{append(good, "--peers", "n1:7071,:7071"), `--peers ":7071": others need`},
		{append(good, "--peers", "n1:7071,0.0.0.0:7071"), `others need a host`},
		{append(good, "--peers", "n1:7071,n1:7071"), "n1:7071 is there twice"},
		{append(good, "--peers", "n1:7071, N1:07071"), "n1:7071 is there twice"},
		{append(good, "--sync", "interval"), "--peers needs --sync always, and it is interval"},
		{append(good, "--peer-listen", ":0"), `--advertise for the other servers ":0": others need`},
		{append(good, "--listen", ":7070", "--advertise", "n1:7070"),
			`--advertise "n1:7070" is not an address for clients and one for the other servers`},
		{append(good, "--advertise", ":7070,n1:7071"), `--advertise for clients ":7070": others need`},
		{append(good, "--insecure=false"), "--peer-listen 10.0.0.1:7071: everyone who reaches this machine could write as a server of the cluster"},
		{append(good, "--peer-tls-cert", "c"), "go together, and one is missing"},
		{append(good, "--insecure=false", "--peer-tls-cert", "c", "--peer-tls-key", "k", "--peer-tls-ca", "a"), ""},
		{good[2:], "--peers needs --data"},
		{append(good[:7:7], good[9:]...), "--peers needs --peer-listen"},
	} {
		var o options
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.define(f)
		require.NoError(t, f.Parse(test.args), "%q", test.args)
		err := o.peers.check(&o)
		if test.says == "" {
			require.NoError(t, err, "%q", test.args)
		} else {
			require.ErrorContains(t, err, test.says, "%q", test.args)
		}
	}
}

// TestSpelledAddresses: what nodes compare is the same however it was typed.
func TestSpelledAddresses(t *testing.T) {
	for typed, want := range map[string]string{
		"n1:7071":                 "n1:7071",
		" n1:7071\t":              "n1:7071",
		"N1.Example:07071":        "n1.example:7071",
		"127.0.0.1:7071":          "127.0.0.1:7071",
		"[::ffff:127.0.0.1]:7071": "127.0.0.1:7071",
		"[0:0:0:0:0:0:0:1]:7071":  "[::1]:7071",
		"[FE80::1%eth0]:7071":     "[fe80::1%eth0]:7071",
		":7071":                   ":7071",
		"n1:http":                 "n1:http",
		"n1":                      "n1",
		"":                        "",
	} {
		require.Equal(t, want, spelled(typed), "%q", typed)
	}
	p := peers{founders: "N3:7071, n1:7071,n2:07071", advertise: "N1:7070, N1:7071"}
	require.Equal(t, []string{"n3:7071", "n1:7071", "n2:7071"}, p.list())
	client, peer := p.addresses(&options{})
	require.Equal(t, "n1:7070 n1:7071", client+" "+peer)
}
