package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"kv/netserver"
)

// security is who may connect, and how.
type security struct {
	o        options
	accounts *netserver.Accounts        // nil: everyone
	tls      *tls.Config                // nil: no TLS; it has each handshake use current
	current  atomic.Pointer[tls.Config] // publishes what was loaded last, which is never changed then
}

func loadSecurity(o options) (*security, error) {
	s := &security{o: o}
	if o.authFile != "" {
		s.accounts = new(netserver.Accounts)
	}
	if o.tlsCert != "" {
		s.tls = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current.Load(), nil }}
	}
	return s, s.load()
}

// load reads all files. What they say is in force when all of them are good; on an error what was in force stays.
func (s *security) load() error {
	secured, err := s.readTLS()
	if err != nil {
		return err
	}
	if s.accounts != nil {
		if err := s.loadAccounts(); err != nil {
			return err
		}
	}
	s.current.Store(secured)
	return nil
}

// readTLS returns what the files of the certificate and of the clients' authority say; nil: no TLS.
func (s *security) readTLS() (*tls.Config, error) {
	if s.tls == nil {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(string(s.o.tlsCert), string(s.o.tlsKey))
	if err != nil {
		return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if s.o.tlsClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(string(s.o.tlsClientCA))
	if err != nil {
		return nil, fmt.Errorf("--tls-client-ca: %w", err)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--tls-client-ca: %s has no certificate in PEM form", s.o.tlsClientCA)
	}
	// A session that is resumed could be one that an authority was good for that is none any more.
	c.SessionTicketsDisabled = true
	return c, nil
}

func (s *security) loadAccounts() error {
	f, err := os.Open(string(s.o.authFile))
	if err != nil {
		return fmt.Errorf("--auth-file: %w", err)
	}
	defer f.Close()
	if err := s.accounts.Load(f); err != nil {
		return fmt.Errorf("--auth-file %s: %w", s.o.authFile, err)
	}
	return nil
}

// secretsInTheClear reports whether somebody on the way to a listener on the address could read the users' secrets.
func (s *security) secretsInTheClear(a net.Addr) bool {
	return s.accounts != nil && s.tls == nil && !onThisMachine(a)
}
