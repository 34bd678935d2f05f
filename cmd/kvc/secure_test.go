package main

import (
	"context"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kv/netserver"
	"kv/netserver/nettest"
	"kv/store"
)

// secureServer serves TLS to ann, whose secret is "correct horse", and returns its address and the file of its certificate.
func secureServer(t *testing.T) (addr, ca string) {
	serverTLS, _ := nettest.Certificate(t)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: serverTLS.Certificates[0].Certificate[0]}), 0o644))
	accounts := nettest.Accounts(t, "ann", "rw", "correct horse")
	return serve(t, "127.0.0.1:0", netserver.Config{TLS: serverTLS, Accounts: accounts}), ca
}

// serve serves an empty store at this address until the test ends, and returns the address with its port.
func serve(t *testing.T, listen string, config netserver.Config) (addr string) {
	st, err := store.Open(store.Options{})
	require.NoError(t, err)
	config.Store = st
	srv, err := netserver.New(config)
	require.NoError(t, err)
	l, err := net.Listen("tcp", listen)
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		srv.Serve(l)
		close(served)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		srv.Shutdown(ctx)
		<-served
		st.Close()
	})
	return l.Addr().String()
}

func TestTLSAndSecrets(t *testing.T) {
	addr, ca := secureServer(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("correct horse\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "junk"), []byte("junk"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "kv"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kv", "config"), []byte(`contexts:
  ann: {addr: "kvs://ann@`+addr+`", secret-file: ../secret, tls-ca: `+ca+`}
  mute: {addr: "`+addr+`", tls: true, tls-ca: `+ca+`}
`), 0o600))
	for _, tt := range []struct {
		env, args string
		code      int
		says      string
	}{
		{"", "--tls-ca " + ca + " --user ann --secret-file " + secret, 0, ""},
		{"KV_TLS_CA=" + ca + " KV_USER=ann KV_SECRET_FILE=" + secret, "", 0, ""},
		{"KV_TLS_CA=" + ca + " KV_USER=ann KV_SECRET=correct?horse", "", 0, ""},
		{"KV_SECRET=wrong", "--tls-ca " + ca + " --user ann", 4, "unauthenticated"},
		{"", "--tls-ca " + ca, 4, "give --user NAME (or KV_USER), and the secret in KV_SECRET or a file (--secret-file FILE)"},
		{"", "--tls-ca " + ca + " --user ann", 4, "no secret was given"},
		{"", "--tls-ca " + ca + " --secret-file " + secret + " --addr kvs://ann@" + addr, 0, ""},
		{"KV_USER=bob", "--tls-ca " + ca + " --secret-file " + secret + " --addr kvs://ann@" + addr, 0, ""},
		{"", "--tls-ca " + ca + " --secret-file " + secret + " --addr kvs://bob@" + addr + " --user ann", 0, ""},
		{"", "--context ann", 0, ""},
		{"KV_USER=bob KV_SECRET=wrong KV_ADDR=127.0.0.1:1", "--context ann", 0, ""},
		{"KV_ADDR= KV_CONTEXT=ann", "", 0, ""},
		{"KV_ADDR= KV_CONTEXT=ann KV_SECRET=wrong", "", 4, "wrong user or secret"},
		{"KV_ADDR= KV_CONTEXT=ann KV_USER=bob", "", 4, "no secret was given"}, // ann's is hers alone
		{"KV_ADDR= KV_CONTEXT=ann", "--user bob", 4, "no secret was given"},
		{"", "--context ann --user bob", 4, "no secret was given"},
		{"", "--context ann --addr kvs://bob@" + addr, 4, "no secret was given"},
		{"", "--context ann --addr kv://" + addr, 2, "is an address without TLS"},
		{"", "", 5, "the server speaks TLS, and none was asked for (--tls asks for it"},
		{"KV_SECRET=correct?horse", "--addr kvs://ann@" + addr, 5, "--tls-ca FILE names certificates to trust"},
		{"", "--tls --addr " + testServer(t).addr, 5, "the server speaks kv without TLS (leave out"},
		{"", "--addr kvs://" + testServer(t).addr, 5, "the server speaks kv without TLS (leave out"},
		{"KV_ADDR= KV_CONTEXT=mute", "", 4, "give --user NAME"},
		{"KV_SECRET=correct?horse", "--tls --user ann", 5, "certificate"},
		{"", "--tls-ca " + dir + "/junk", 2, "no certificate in PEM form"},
		{"", "--tls-ca " + dir + "/nowhere", 2, "no such file"},
		{"", "--secret-file " + dir + "/nowhere", 2, "no such file"},
		{"", "--tls-cert " + ca, 2, "--tls-cert and --tls-key go together"},
		{"", "--secret hunter2", 2, "unknown option --secret"},
	} {
		for _, command := range []string{"set k v", "bench --duration 20ms --connections 2 --keys 10"} {
			cmd := exec.Command("kvc", append(strings.Fields(tt.args), strings.Fields(command)...)...)
			cmd.Env = append(os.Environ(), "KV_ADDR="+addr, "XDG_CONFIG_HOME="+dir)
			for _, v := range strings.Fields(tt.env) {
				cmd.Env = append(cmd.Env, strings.ReplaceAll(v, "?", " "))
			}
			out, _ := cmd.CombinedOutput()
			assert.Equal(t, tt.code, cmd.ProcessState.ExitCode(), "%s kvc %s %s: %s", tt.env, tt.args, command, out)
			assert.Contains(t, string(out), tt.says)
		}
	}
}
