package rest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"kv/netserver/internal/ownsite"
)

// guard refuses what no client means but a web page may, one that somebody else made: a browser on this machine, or in its
// network, asks for it whatever it can reach, under a name of its own that resolves to this server (DNS rebinding), or as a
// request to another site (CSRF), with the password that a person gave the browser for this one. No answer says that another
// site may read it (CORS), whoever asks.
//
// Without accounts there is nobody to ask: then it refuses as well what did not come from this machine.
func (x *exchange) guard() error {
	r := x.r
	if !ownsite.Asks(r) {
		return forbidden("not for a page of another site")
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		// Browsers that know no Sec-Fetch-Site send it with what a page writes.
		if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
			return forbidden("not for a page of another site: Origin is not Host")
		}
	}
	if srv := x.h.config.Server(); srv == nil || srv.HasAccounts() {
		return nil
	}
	switch {
	case !ownsite.OnThisMachine(r):
		return forbidden("without users, only who is on the server's machine is served, by a loopback address and through no proxy: set up users with --auth-file")
	case !ownsite.Names(r.Host, x.h.machine) && !ownsite.OverUnixSocket(r):
		return forbidden(fmt.Sprintf("%q is no name of this server: use its IP address, or localhost", r.Host))
	}
	return nil
}

func forbidden(detail string) *problem { return &problem{Status: http.StatusForbidden, Detail: detail} }

// errNobody is the answer to who says nothing of who he is.
var errNobody error = &problem{
	Status: http.StatusUnauthorized,
	Detail: "a user and a secret are needed: Authorization: Basic, with both, or Bearer, with the secret alone",
}

// logIn finds out who asks, by Basic or Bearer of the header Authorization, where the server has users.
func (x *exchange) logIn() error {
	if !x.server.HasAccounts() {
		return nil
	}
	given := x.r.Header.Values("Authorization")
	if len(given) == 0 {
		return errNobody
	}
	scheme, rest, _ := strings.Cut(given[0], " ")
	rest = strings.TrimSpace(rest)
	var err error
	switch {
	case len(given) > 1:
		return badRequest("Authorization is there twice")
	case strings.EqualFold(scheme, "Basic"):
		pair, malformed := base64.StdEncoding.DecodeString(rest)
		user, secret, ok := strings.Cut(string(pair), ":")
		if malformed != nil || !ok {
			return badRequest("Authorization: Basic is followed by user:secret in base64")
		}
		if err = errNobody; len(pair) > 1 {
			err = x.client.Login([]byte(user), []byte(secret))
		}
	case strings.EqualFold(scheme, "Bearer"):
		if err = errNobody; rest != "" {
			err = x.client.LoginSecret([]byte(rest))
		}
	default:
		return errNobody
	}
	if err != nil && err != errNobody {
		p := asProblem(err)
		p.closes = true // each guess takes a connection
		return p
	}
	return err
}
