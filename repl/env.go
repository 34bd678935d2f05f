package repl

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Env is what a run of kvc has of the world around it.
type Env struct {
	In                                   io.Reader
	Out, Err                             io.Writer
	InTerminal, OutTerminal, ErrTerminal bool                // whether each of them is one
	Getenv                               func(string) string // as os.Getenv
	Environ                              func() []string     // as os.Environ; nil: nobody looks for variables that kvc does not know
	Size                                 func() (columns, rows int)
	OnInterrupt                          func(f func()) // makes SIGINT call f from now on; nil: nothing does
	Version                              string         // what --version prints
}

// options are the global flags. Each is an environment variable too: KV_ and its name in capitals, _ for -.
type options struct {
	addr       address
	context    string
	timeout    time.Duration
	staleOK    time.Duration
	json       bool
	user       string
	secretFile string
	tls        bool
	tlsCA      string
	tlsCert    string
	tlsKey     string

	typedSecret string            // what login was told; "": nothing. It comes before all others, for this server alone
	origins     map[string]origin // of each option by its name
}

// origin says who gave an option its value. The greatest wins.
type origin uint8

const (
	byDefault origin = iota
	byContext
	byEnvironment
	byNamedContext // one that --context names
	byFlag
)

func defaultOptions() options {
	return options{addr: address{hostPort: defaultAddr}, timeout: 30 * time.Second, origins: map[string]origin{}}
}

// given notes which options the command line gave.
func (o *options) given(f flags) { f.Visit(func(g *pflag.Flag) { o.origins[g.Name] = byFlag }) }

// bind declares all global flags in f, each with the value that it has now as its default.
func (o *options) bind(f flags) {
	flagVar(f, &o.addr, "addr", "", "ADDR", "the server: HOST:PORT, HOST, kv://USER@HOST:PORT, kvs://… for TLS, or unix:PATH; several of a cluster, separated by commas", parseAddr)
	flagVar(f, &o.context, "context", "", "NAME", "the server that this context names (see context)", parseGiven)
	o.bindEach(f)
	flagVar(f, &o.user, "user", "", "NAME", "who to be, where the server asks for authentication", parseGiven)
	flagVar(f, &o.secretFile, "secret-file", "", "FILE",
		"a file that holds the secret (or set KV_SECRET to the secret itself)", parseGiven)
	flagVar(f, &o.staleOK, "stale-ok", "", "DURATION",
		"how old what is read from a cluster may be; without it, reads are up to date", parsePositiveDuration)
	f.bool(&o.tls, "tls", "", "connect with TLS")
	flagVar(f, &o.tlsCA, "tls-ca", "", "FILE", "certificates to trust instead of the system's, in PEM; implies --tls", parseGiven)
	flagVar(f, &o.tlsCert, "tls-cert", "", "FILE", "the certificate to show the server, in PEM; implies --tls", parseGiven)
	flagVar(f, &o.tlsKey, "tls-key", "", "FILE", "the key of that certificate, in PEM", parseGiven)
}

// bindEach declares those that one command of a shell may have for itself.
func (o *options) bindEach(f flags) {
	flagVar(f, &o.timeout, "timeout", "", "DURATION",
		"the longest that connecting, and each request, may take", parsePositiveDuration)
	f.bool(&o.json, "json", "", "print one JSON document (export: JSON Lines)")
}

// envName is the environment variable of a global flag.
func envName(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fromEnv sets each flag of f, in which o is bound, whose variable is set and not empty.
func (o *options) fromEnv(f flags, getenv func(string) string) error {
	var first error
	f.VisitAll(func(g *pflag.Flag) {
		v := getenv(envName(g.Name))
		if v == "" || first != nil {
			return
		}
		if err := g.Value.Set(v); err != nil {
			first = usagef("%s=%q: %v", envName(g.Name), v, err)
		}
		o.origins[g.Name] = byEnvironment
	})
	return first
}

// variablePrefix begins the name of each environment variable that is an option.
const variablePrefix = "KV_"

// secretVariable is the one that is no option, for a command line can be seen by others.
const secretVariable = variablePrefix + "SECRET"

// unknownVariables warns of each variable that looks like an option and is none: one that is misspelt has no effect.
func (s *session) unknownVariables(f flags) {
	if s.env.Environ == nil {
		return
	}
	known := []string{secretVariable}
	f.VisitAll(func(g *pflag.Flag) { known = append(known, envName(g.Name)) })
	for _, e := range slices.Sorted(slices.Values(s.env.Environ())) {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(known, name) || fromKubernetes.MatchString(name) {
			continue
		}
		near := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
		if distance(name, near) <= 2 {
			s.notef("kvc: warning: the environment variable %s is ignored; is %s meant?", name, near)
		} else {
			s.notef("kvc: warning: the environment variable %s is ignored: no option has that name, see kvc help options", name)
		}
	}
}

// fromKubernetes matches the variables that Kubernetes sets in each container for services called kv, kv-replica and the
// like.
var fromKubernetes = regexp.MustCompile(`^KV_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// flags is where a command declares its options.
type flags struct{ *pflag.FlagSet }

func newFlags() flags {
	f := flags{pflag.NewFlagSet("", pflag.ContinueOnError)}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.SortFlags = false
	return f
}

// flagVar declares an option with a value.
func flagVar[T any](f flags, p *T, name, short, placeholder, usage string, parse func(string) (T, error)) {
	f.VarP(&flagValue[T]{p, parse, placeholder}, name, short, usage)
}

// bool declares an option without one.
func (f flags) bool(p *bool, name, short, usage string) {
	f.VarPF(&flagValue[bool]{p, parseBool, "bool"}, name, short, usage).NoOptDefVal = "true"
}

// flagValue is a pflag.Value of any type.
type flagValue[T any] struct {
	p           *T
	parse       func(string) (T, error)
	placeholder string // stands for the value in help
}

func (v *flagValue[T]) String() string { return fmt.Sprint(*v.p) }
func (v *flagValue[T]) Type() string   { return v.placeholder }
func (v *flagValue[T]) Set(s string) error {
	t, err := v.parse(bare(s))
	if err != nil {
		return err
	}
	*v.p = t
	return nil
}

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New("true or false")
	}
	return b, nil
}

func parseString(s string) (string, error) { return s, nil }

// parseGiven reads a name that can't be empty: where a variable of a script is not set, nothing is what comes.
func parseGiven(s string) (string, error) {
	if s == "" {
		return "", errors.New("a name, and this is empty")
	}
	return s, nil
}

// parseTTL reads a time to live: a duration, in whole milliseconds.
func parseTTL(s string) (uint64, error) {
	d, err := parsePositiveDuration(s)
	if err != nil {
		return 0, err
	}
	if d%time.Millisecond != 0 {
		return 0, fmt.Errorf("whole milliseconds, at least 1ms")
	}
	return uint64(d.Milliseconds()), nil
}

// parseTime reads a time as RFC 3339 writes it, or in Unix milliseconds, and returns the latter.
func parseTime(s string) (uint64, error) {
	const wants = "a time such as 2030-01-31T12:00:00Z, or in Unix milliseconds"
	if ms, err := strconv.ParseUint(s, 10, 64); err == nil {
		switch {
		case ms == 0:
			return 0, fmt.Errorf("%s, above 0", wants)
		case len(s) == 10: // a day of 1970 if taken by the word; seconds look like this from 2001 on
			return 0, fmt.Errorf("%s: this looks like seconds, so write %s000, or the time as text", wants, s)
		case len(s) == 16 || len(s) == 19: // after the year 30000
			return 0, fmt.Errorf("%s: this looks like micro- or nanoseconds, so write %s, or the time as text", wants, s[:13])
		}
		return ms, nil
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	switch {
	case err != nil:
		return 0, errors.New(wants)
	case at.Nanosecond()%int(time.Millisecond) != 0:
		return 0, errors.New("whole milliseconds")
	case at.UnixMilli() <= 0:
		return 0, errors.New("a time after 1970-01-01T00:00:00Z")
	}
	return uint64(at.UnixMilli()), nil
}

func parseVersion(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a version: a number as meta and history print it")
	}
	return v, nil
}

// parseCount reads a number above 0.
func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("a number above 0")
	}
	return int(n), nil
}
