package repl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"syscall"

	"kv/protocol"
	"kv/protocol/client"
	"kv/repl/files"
	"kv/repl/text"
)

// server returns the address of the server that the session talks to, and how to connect: what the options say, and where
// they leave something open, the context.
//
// The current context of the contexts' file counts only where no address is given: what belongs to one server is not told
// to another.
func (s *session) server(ctx context.Context) (addr string, o client.Options, err error) {
	settled, err := s.withContext(ctx)
	if err != nil {
		return "", o, err
	}
	o, err = settled.clientOptions(ctx, s.env.Getenv)
	return settled.addr.hostPort, o, err
}

// withContext returns the options with what the context gives to those that nobody else gave.
func (s *session) withContext(ctx context.Context) (options, error) {
	o := s.opts
	o.origins = maps.Clone(o.origins)
	name, err := s.contextInUse(ctx)
	if err != nil || name == "" {
		return o, err
	}
	settings, err := s.contexts.get(name)
	if err != nil {
		return o, err
	}
	level := byContext
	if o.origins["context"] == byFlag {
		level = byNamedContext
	}
	f := newFlags()
	o.bind(f)
	for _, option := range slices.Sorted(maps.Keys(settings)) {
		if o.origins[option] > level {
			continue
		}
		if err := f.Set(option, settings[option]); err != nil {
			return o, flagError(err)
		}
		o.origins[option] = level
	}
	return o, nil
}

// contextInUse returns the name of the context that the session uses; "": none. The file is read once: a shell does not
// go over to another server when somebody changes it.
func (s *session) contextInUse(ctx context.Context) (string, error) {
	if s.opts.context == "" && s.opts.origins["addr"] != byDefault {
		return "", nil
	}
	if s.contexts == nil {
		c, err := readContexts(ctx, s.contextsFile())
		if err != nil {
			return "", err
		}
		s.contexts = c
	}
	if s.opts.context != "" {
		return s.opts.context, nil
	}
	return s.contexts.current, nil
}

// login returns the user and the file of the secret; "": none.
func (o *options) login(getenv func(string) string) (user, secretFile string) {
	user, from := o.user, o.origins["user"]
	if o.addr.user != "" && o.origins["addr"] > from { // an address names its user where nobody else does
		user, from = o.addr.user, o.origins["addr"]
	}
	switch o.origins["secret-file"] {
	case byContext:
		if from != byContext || getenv(secretVariable) != "" { // it is for the context's user, and after the environment
			return user, ""
		}
	case byNamedContext:
		if from != byNamedContext {
			return user, ""
		}
	}
	return user, o.secretFile
}

// clientOptions reads the files that the options name.
func (o *options) clientOptions(ctx context.Context, getenv func(string) string) (client.Options, error) {
	user, secretFile := o.login(getenv)
	c := client.Options{User: user, Secret: getenv(secretVariable), Timeout: o.timeout, MaxStale: o.staleOK}
	if o.typedSecret != "" {
		c.Secret = o.typedSecret
	} else if secretFile != "" {
		b, err := readText(ctx, secretFile)
		if err != nil {
			return c, err
		}
		c.Secret = strings.TrimRight(string(b), "\r\n")
	}
	wanted := o.tls || o.tlsCA != "" || o.tlsCert != "" || o.tlsKey != ""
	if wanted && o.addr.unix() {
		return c, usagef("%v is a Unix socket, over which no TLS is spoken, and an option or variable asks for TLS", o.addr)
	}
	if wanted && o.addr.scheme == "kv" {
		return c, usagef("%v is an address without TLS, and an option or variable asks for TLS: write kvs:// in it", o.addr)
	}
	if !wanted && o.addr.scheme != "kvs" {
		return c, nil
	}
	var err error
	c.TLS, err = o.tlsConfig(ctx)
	return c, err
}

// readText reads a local file of text, all of it. One that is a FIFO is waited for until ctx is done.
func readText(ctx context.Context, name string) ([]byte, error) {
	f, err := files.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(newInput(ctx, f))
	if err != nil {
		return nil, fileError{err}
	}
	if err := errors.Join(text.CheckFirstLine(b, '\n'), text.CheckLine(b)); err != nil {
		return nil, fileError{fmt.Errorf("%s: %w", name, err)}
	}
	return b, nil
}

func (o *options) tlsConfig(ctx context.Context) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.tlsCA != "" {
		b, err := readText(ctx, o.tlsCA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, fileError{fmt.Errorf("%s: no certificate in PEM form in it", o.tlsCA)}
		}
	}
	if (o.tlsCert == "") != (o.tlsKey == "") {
		return nil, usagef("--tls-cert and --tls-key go together")
	}
	if o.tlsCert != "" {
		certificate, err := readText(ctx, o.tlsCert)
		if err != nil {
			return nil, err
		}
		key, err := readText(ctx, o.tlsKey)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(certificate, key)
		if err != nil {
			return nil, fileError{fmt.Errorf("%s and %s: %w", o.tlsCert, o.tlsKey, err)}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// whyNot adds to the error of a connection what can be done about it.
func (s *session) whyNot(err error, o client.Options) error {
	hint := ""
	switch {
	case errors.Is(err, protocol.ErrUnauthenticated) && o.User == "":
		hint = "the server asks who you are: give --user NAME (or KV_USER), and the secret in KV_SECRET or a file (--secret-file FILE)"
		if s.mode == interactive {
			hint = "the server asks who you are: login NAME"
		}
	case errors.Is(err, protocol.ErrUnauthenticated) && o.Secret == "":
		hint = "no secret was given: it is in KV_SECRET or a file (--secret-file FILE)"
	case errors.Is(err, client.ErrTLS):
		hint = "--tls asks for it, or an address that begins with kvs://"
	case errors.Is(err, client.ErrNoTLS):
		hint = "leave out what asks for TLS: --tls, --tls-ca, kvs://, KV_TLS and the like"
	case errors.As(err, new(*tls.CertificateVerificationError)) && o.TLS.RootCAs == nil:
		hint = "--tls-ca FILE names certificates to trust"
	case errors.Is(err, syscall.ECONNREFUSED) && s.opts.origins["addr"] == byDefault:
		hint = "no server is there: kvd starts one, and --addr names another"
	default:
		return err
	}
	return fmt.Errorf("%w (%s)", err, hint)
}
