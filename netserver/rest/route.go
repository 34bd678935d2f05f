package rest

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route finds what the request asks for. A path is taken as it was sent: nothing in it is cleaned or followed, so that no two
// paths are one key's.
func (x *exchange) route() (*operation, error) {
	path, ok := strings.CutPrefix(x.r.URL.EscapedPath(), "/v1/")
	if !ok {
		return nil, notHere()
	}
	name, key, below := strings.Cut(path, "/")
	if below {
		name += "/"
	}
	res, ok := resources[name]
	switch {
	case !ok:
		return nil, notHere()
	case strings.Contains(key, "/"):
		return nil, badRequest("a key is one segment of the path: write %2F for each / in it")
	}
	method := x.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, ok := res.operations[method]
	if !ok {
		return nil, &problem{
			Status: http.StatusMethodNotAllowed, Detail: fmt.Sprintf("%.20q is no method of this path", x.r.Method), allow: allowed(res.operations),
		}
	}
	if err := x.parseQuery(op); err != nil {
		return nil, err
	}
	if res.keyed {
		var err error
		encoding, encoded := x.query["encoding"]
		switch {
		case !encoded:
			x.key, err = keyOf(key)
		case encoding == "base64url":
			x.key, err = decodedKey(key)
		default:
			err = badRequest("the only encoding is base64url")
		}
		if err != nil {
			return nil, err
		}
	}
	return op, nil
}

func notHere() *problem {
	return &problem{Status: http.StatusNotFound, Detail: "nothing is here: /v1/openapi.json says what there is"}
}

func allowed(operations map[string]*operation) string {
	methods := slices.Collect(maps.Keys(operations))
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	return strings.Join(methods, ", ")
}

// keyOf returns the key that stands for itself in a path, percent-encoded. Three can't: what is on the way takes . and
// .. for steps of a path, and nobody sees the empty one.
func keyOf(segment string) ([]byte, error) {
	text, err := url.PathUnescape(segment)
	switch {
	case err != nil:
		return nil, badRequest("the path is not percent-encoded as it should be")
	case text == "" || text == "." || text == "..":
		return nil, badRequest(fmt.Sprintf("the key %q can't stand for itself in a path: write it with ?encoding=base64url", text))
	}
	return []byte(text), nil
}

// decodedKey returns the key that stands in a path in base64 for URLs.
func decodedKey(segment string) ([]byte, error) {
	text, err := url.PathUnescape(segment)
	key, notBase64 := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || notBase64 != nil || strings.ContainsAny(text, "\r\n") { // the decoder passes line breaks over
		return nil, badRequest("the key is not base64url without padding")
	}
	return key, nil
}

// parseQuery reads the parameters of the request: those that the operation has, each once.
func (x *exchange) parseQuery(op *operation) error {
	all, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return badRequest("the query is not name=value, joined by & and percent-encoded")
	}
	x.query = make(map[string]string, len(all))
	for name, values := range all {
		switch {
		case !slices.Contains(op.query, name):
			return badRequest(fmt.Sprintf("there is no parameter %.40q here%s", name, among(op.query)))
		case len(values) > 1:
			return badRequest(fmt.Sprintf("the parameter %q is there twice", name))
		}
		x.query[name] = values[0]
	}
	return nil
}

// among names what there is.
func among(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ": there are " + strings.Join(names, ", ")
}

// heeded are the headers that change what a request does. Where an operation does not know the header, the request is
// refused: otherwise its condition would go unchecked, or its expiry be lost.
var heeded = []string{"If-Match", "If-None-Match", "If-Unmodified-Since", "Content-Range"}

// checkHeaders refuses what the operation does not heed.
func (x *exchange) checkHeaders(op *operation) error {
	h := x.r.Header
	for name, values := range h {
		own := strings.HasPrefix(name, "Kv-")
		switch {
		case slices.Contains(op.header, name):
			if own && len(values) > 1 {
				return badRequest(name + " is there twice")
			}
		case own:
			return badRequest(fmt.Sprintf("there is no header %.40s here%s", name, among(op.header)))
		case slices.Contains(heeded, name) && x.r.Method != http.MethodGet && x.r.Method != http.MethodHead:
			return badRequest(name + " is not heeded here" + among(op.header))
		}
	}
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return &problem{Status: http.StatusUnsupportedMediaType,
			Detail: fmt.Sprintf("Content-Encoding %.40q: send the body as it is", coding)}
	}
	switch {
	case op.json:
		return x.checkJSON()
	case !op.body && x.hasBody():
		return &problem{Status: http.StatusBadRequest, Detail: x.r.Method + " has no body here", closes: true}
	}
	return nil
}

// checkJSON refuses a body that does not say that it is JSON: a page of another site may not send such a body without
// asking first.
func (x *exchange) checkJSON() error {
	given := x.r.Header.Get("Content-Type")
	kind, _, _ := strings.Cut(given, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return &problem{Status: http.StatusUnsupportedMediaType,
			Detail: fmt.Sprintf("Content-Type is application/json here, not %.60q", given)}
	}
	return nil
}
