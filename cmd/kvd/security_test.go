package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/protocol"
	"kv/protocol/client"
)

// writeUsers writes a file for --auth-file, of user, role, secret and so on.
func writeUsers(t *testing.T, file string, userRoleSecret ...string) {
	require.NoError(t, os.WriteFile(file, []byte(nettest.Users(t, userRoleSecret...)), 0o600))
}

// writeCertificate writes a new certificate, for the loopback address and others, and its key to the two files, and
// returns a client's side of it: one that trusts it, and has it too.
func writeCertificate(t *testing.T, cert, key string, others ...net.IP) *tls.Config {
	server, trusting := nettest.Certificate(t, others...)
	pair := server.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	trusting.Certificates = server.Certificates
	return trusting
}

// hangUp sends SIGHUP, and waits until kvd says what it made of it.
func (p *process) hangUp(outcome string) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGHUP))
	p.await("SIGHUP: " + outcome)
}

// TestUsers: --auth-file, and a new one on SIGHUP.
func TestUsers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	writeUsers(t, file, "anna", "rw", "one")
	p := start(t, "--auth-file", file)
	_, err := p.dial(client.Options{})
	require.ErrorIs(t, err, protocol.ErrUnauthenticated)
	anna := p.mustDial(client.Options{User: "anna", Secret: "one"})

	writeUsers(t, file, "bob", "ro", "two")
	p.hangUp("users and certificates were read again")
	<-anna.Done()
	_, err = p.dial(client.Options{User: "anna", Secret: "one"})
	require.ErrorIs(t, err, protocol.ErrUnauthenticated)
	bob := p.mustDial(client.Options{User: "bob", Secret: "two"})
	_, err = bob.Set(t.Context(), protocol.Set{Key: []byte("a")})
	require.ErrorIs(t, err, protocol.ErrForbidden)

	for _, bad := range []string{"nonsense\n", "", "# nobody\n"} {
		require.NoError(t, os.WriteFile(file, []byte(bad), 0o600))
		p.hangUp("what was in force stays")
		p.mustDial(client.Options{User: "bob", Secret: "two"})
	}
	p.stop(syscall.SIGTERM)
}

// TestTLS: with a certificate, TLS is spoken; with --tls-client-ca, only to those who have one too.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	known := writeCertificate(t, cert, key)
	trusting := known.Clone()
	trusting.Certificates = nil

	p := start(t, "--tls-cert", cert, "--tls-key", key)
	p.mustDial(client.Options{TLS: trusting})
	_, err := p.dial(client.Options{})
	require.Error(t, err)
	p.await("TLS handshake failed")
	p.stop(syscall.SIGTERM)

	p = start(t, "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", cert)
	_, err = p.dial(client.Options{TLS: trusting})
	require.Error(t, err)
	require.EqualValues(t, 1, stat(t, p.mustDial(client.Options{TLS: known}), "handshake_failures"))
	p.stop(syscall.SIGTERM)
}

// TestReload: on SIGHUP all files are read again, those of the certificate and of the clients' authority too; if one of
// them is not good, nothing of the others is in force either.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	files := []string{file("users"), file("crt"), file("key"), file("ca")}
	// write makes all files anew, and returns who is let in with them.
	write := func(secret string) client.Options {
		writeUsers(t, file("users"), "anna", "rw", secret)
		server := writeCertificate(t, file("crt"), file("key"))
		of := writeCertificate(t, file("ca"), file("ca-key"))
		server.Certificates = of.Certificates
		// A client that keeps sessions may be let in on an old one.
		server.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		return client.Options{User: "anna", Secret: secret, TLS: server}
	}
	old := write("old")
	p := start(t, "--auth-file", file("users"), "--tls-cert", file("crt"), "--tls-key", file("key"),
		"--tls-client-ca", file("ca"))
	open := p.mustDial(old)

	good := make(map[string][]byte)
	next := write("new")
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		good[f] = b
	}
	for _, f := range files {
		for _, damage := range []func() error{
			func() error { return os.Remove(f) },
			func() error { return os.WriteFile(f, nil, 0o600) },
			func() error { return os.WriteFile(f, []byte("nonsense"), 0o600) },
		} {
			require.NoError(t, damage())
			p.hangUp("what was in force stays")
			p.mustDial(old)
			_, err := p.dial(next)
			require.Error(t, err, "a part of the files is in force without %s", f)
		}
		require.NoError(t, os.WriteFile(f, good[f], 0o600))
	}
	require.NoError(t, open.Ping(t.Context(), nil))

	p.hangUp("users and certificates were read again")
	<-open.Done()
	p.mustDial(next)
	for _, tt := range []client.Options{
		{User: "anna", Secret: "new", TLS: old.TLS},
		{User: "anna", Secret: "old", TLS: next.TLS},
		// The server's certificate is known, but the client's is of the authority of before.
		{User: "anna", Secret: "new", TLS: &tls.Config{RootCAs: next.TLS.RootCAs, ServerName: next.TLS.ServerName, Certificates: old.TLS.Certificates}},
	} {
		_, err := p.dial(tt)
		require.Error(t, err)
	}
	p.stop(syscall.SIGTERM)
}

// TestSecretsInTheClear: a kvd whose clients send secrets in the clear over a network warns of it.
func TestSecretsInTheClear(t *testing.T) {
	dir := t.TempDir()
	users, cert, key := filepath.Join(dir, "users"), filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	writeUsers(t, users, "anna", "rw", "one")
	writeCertificate(t, cert, key)
	for _, tt := range []struct {
		o       options
		address string
		told    bool
	}{
		{options{authFile: place(users)}, "0.0.0.0:7070", true},
		{options{authFile: place(users)}, "[::]:7070", true},
		{options{authFile: place(users)}, "10.1.2.3:7070", true},
		{options{authFile: place(users)}, "127.0.0.1:7070", false},
		{options{authFile: place(users)}, "[::1]:7070", false},
		{options{authFile: place(users), tlsCert: place(cert), tlsKey: place(key)}, "0.0.0.0:7070", false},
		{options{}, "0.0.0.0:7070", false},
	} {
		s, err := loadSecurity(tt.o)
		require.NoError(t, err)
		a, err := net.ResolveTCPAddr("tcp", tt.address)
		require.NoError(t, err)
		require.Equal(t, tt.told, s.secretsInTheClear(a), "%s %+v", tt.address, tt.o)
	}
}
