package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// peerTLS is what the servers of a cluster prove to each other who they are with. Its files are looked at for each
// connection, so that a certificate that was renewed is used without a word: where files come from a secret of an
// orchestrator's, nobody is there to send SIGHUP.
type peerTLS struct {
	paths [3]string // certificate, key, authority
	log   *slog.Logger

	mu    sync.Mutex // guards what follows
	texts [3]string  // of what is in force
	good  *tls.Config
	wrong string // what was told of files that are not good
}

// newPeerTLS reads the files; nil: none are named, and the servers do not prove who they are.
func newPeerTLS(p *peers, log *slog.Logger) (*peerTLS, error) {
	if p.cert == "" {
		return nil, nil
	}
	t := &peerTLS{paths: [3]string{string(p.cert), string(p.key), string(p.ca)}, log: log}
	return t, t.load()
}

// config returns what is in force now. As long as the files are not good, that stays as it was.
func (t *peerTLS) config() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	err := t.load()
	switch {
	case err == nil:
		t.wrong = ""
	case err.Error() != t.wrong:
		t.wrong = err.Error()
		t.log.Error("the peers' certificate that was in force stays", "error", err)
	}
	return t.good
}

// load reads the files, and has what they say in force where that is good, and new.
func (t *peerTLS) load() error {
	var texts [3]string
	for i, path := range t.paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%s: %w", [3]string{"--peer-tls-cert", "--peer-tls-key", "--peer-tls-ca"}[i], err)
		}
		texts[i] = string(text)
	}
	if texts == t.texts {
		return nil
	}
	cert, err := tls.X509KeyPair([]byte(texts[0]), []byte(texts[1]))
	if err != nil {
		return fmt.Errorf("--peer-tls-cert and --peer-tls-key: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(texts[2])) {
		return errors.New("--peer-tls-ca " + t.paths[2] + ": it has no certificate")
	}
	if t.good != nil {
		t.log.Info("the peers' certificate was read again", "until", cert.Leaf.NotAfter)
	}
	t.texts, t.good = texts, &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool}
	return nil
}
