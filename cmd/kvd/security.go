package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"

	"kv/netserver"
)

// security is who may connect, and how.
type security struct {
	o           options
	accounts    *netserver.Accounts // nil: everyone
	tls         *tls.Config         // nil: no TLS
	certificate atomic.Pointer[tls.Certificate]
}

func loadSecurity(o options) (*security, error) {
	s := &security{o: o}
	if o.authFile != "" {
		s.accounts = new(netserver.Accounts)
	}
	if o.tlsCert != "" {
		s.tls = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate.Load(), nil },
		}
	}
	if o.tlsClientCA != "" {
		pem, err := os.ReadFile(string(o.tlsClientCA))
		if err != nil {
			return nil, fmt.Errorf("--tls-client-ca: %w", err)
		}
		s.tls.ClientAuth = tls.RequireAndVerifyClientCert
		s.tls.ClientCAs = x509.NewCertPool()
		if !s.tls.ClientCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--tls-client-ca: %s has no certificate in PEM form", o.tlsClientCA)
		}
	}
	return s, s.load()
}

// load reads the users and the certificate; on an error what was in force stays.
func (s *security) load() error {
	if s.tls != nil {
		pair, err := tls.LoadX509KeyPair(string(s.o.tlsCert), string(s.o.tlsKey))
		if err != nil {
			return fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		s.certificate.Store(&pair)
	}
	if s.accounts == nil {
		return nil
	}
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
