package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kv/store/linear"
)

// web is the door of HTTP.
type web struct {
	http.Client
	keyNames
	*member
}

func dialWeb(_ context.Context, m *member, names keyNames, timeout time.Duration) (door, error) {
	return &web{Client: http.Client{Timeout: timeout, Transport: &http.Transport{}}, keyNames: names, member: m}, nil
}

func (w *web) Close() error {
	w.CloseIdleConnections()
	return nil
}

// webAnswer is what any of its answers may hold.
type webAnswer struct {
	Version          *uint64
	Index, Existed   int
	Value            int64
	Records, Results []struct {
		Value   *string
		Version uint64
		Existed bool
	}
}

func (w *web) do(ctx context.Context, q linear.Request) (r linear.Response, err error) {
	request, err := w.request(ctx, q)
	if err != nil {
		return r, err
	}
	answer, err := w.Do(request)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return r, errElsewhere // nothing was sent
		}
		return r, err
	}
	defer answer.Body.Close()
	return readWeb(q, answer)
}

// request is q as an HTTP request.
func (w *web) request(ctx context.Context, q linear.Request) (*http.Request, error) {
	type document = map[string]any
	var keys []string
	var records, operations []document
	conditions := []document{}
	for _, s := range q.Steps {
		key := w.of(s.Key)
		keys = append(keys, key)
		record := document{"key": key, "value": s.Value}
		records = append(records, record)
		switch s.Kind {
		case linear.Get:
			operations = append(operations, document{"get": key})
		case linear.Set:
			operations = append(operations, document{"set": record})
		case linear.Del:
			operations = append(operations, document{"delete": key})
		}
	}
	for _, k := range q.Conditions {
		conditions = append(conditions, document{"key": w.of(k.Key), "version": k.Version})
	}
	method, path, body, headers := "POST", "", document(nil), http.Header{"Content-Type": {"application/json"}}
	content := ""
	switch q.Kind {
	case linear.Get:
		method, path = "GET", "keys/"+keys[0]
	case linear.Set:
		method, path, content = "PUT", "keys/"+keys[0], q.Steps[0].Value
		for _, k := range q.Conditions {
			if k.Version == 0 {
				headers.Set("If-None-Match", "*")
			} else {
				headers.Set("If-Match", fmt.Sprintf(`"%d"`, k.Version))
			}
		}
		if ttl := q.Steps[0].TTL; ttl != 0 {
			headers.Set("Kv-Ttl", ttl.String())
		}
	case linear.Incr:
		path, body = "incr", document{"key": keys[0], "by": q.Steps[0].By}
		for _, k := range q.Conditions {
			body["if_version"] = k.Version
		}
	case linear.Del:
		path, body = "delete", document{"keys": keys}
	case linear.MGet:
		path, body = "mget", document{"keys": keys}
	case linear.MSet:
		path, body = "mset", document{"records": records}
	case linear.Txn:
		path, body = "txn", document{"conditions": conditions, "operations": operations}
	}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = string(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+w.web+"/v1/"+path, strings.NewReader(content))
	if err != nil {
		return nil, err
	}
	if request.Header = headers; w.user != "" {
		request.SetBasicAuth(w.user, w.secret)
	}
	return request, nil
}

// readWeb reads what q was answered.
func readWeb(q linear.Request, answer *http.Response) (r linear.Response, err error) {
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return r, err
	}
	r.Results = make([]linear.Result, len(q.Steps))
	version, _ := strconv.ParseUint(answer.Header.Get("Kv-Version"), 10, 64)
	switch {
	case answer.StatusCode == http.StatusMisdirectedRequest:
		return r, errElsewhere
	case answer.StatusCode == http.StatusServiceUnavailable && (reads(q) || notApplied(string(text))):
		return r, errElsewhere
	case answer.StatusCode >= 500:
		return r, fmt.Errorf("%s: %s", answer.Status, text)
	case q.Kind == linear.Get && answer.StatusCode == http.StatusNotFound:
		return r, nil
	case q.Kind == linear.Get && answer.StatusCode == http.StatusOK:
		r.Results[0] = linear.Result{Found: true, Value: string(text), Version: version}
		return r, nil
	case q.Kind == linear.Set && answer.StatusCode < 300:
		r.Version = version
		return r, nil
	}
	var a webAnswer
	if err := json.Unmarshal(text, &a); err != nil {
		return r, fmt.Errorf("%s: %w", text, err)
	}
	if a.Version != nil {
		version = *a.Version
	}
	switch {
	case answer.StatusCode == http.StatusPreconditionFailed, answer.StatusCode == http.StatusConflict && a.Version != nil:
		return linear.Response{Conflict: true, Index: a.Index, Version: version}, nil
	case answer.StatusCode == http.StatusConflict && q.Kind == linear.Incr:
		return linear.Response{Refused: true}, nil
	case answer.StatusCode != http.StatusOK:
		return r, fmt.Errorf("%s: %s", answer.Status, text)
	}
	if q.Kind != linear.Get && q.Kind != linear.MGet {
		r.Version = version
	}
	r.Existed = a.Existed
	if q.Kind == linear.Incr {
		r.Results[0].Value = strconv.FormatInt(a.Value, 10)
	}
	for i, one := range append(a.Records, a.Results...) {
		if r.Results[i].Existed = one.Existed; one.Value != nil {
			r.Results[i] = linear.Result{Found: true, Value: *one.Value, Version: one.Version}
		}
	}
	return r, nil
}
