package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver/linearframes"
	"kv/protocol"
	"kv/protocol/client"
	"kv/store"
	"kv/store/linear"
)

// door is a connection to one node, by one of the protocols.
type door interface {
	// do has a request answered. After errElsewhere nothing was applied, after another error it may have been, or may be yet.
	do(ctx context.Context, q linear.Request) (linear.Response, error)
	Close() error
}

// notApplied reports whether a refusal of a kind that need not mean it says that nothing was applied. Of a write that one was under way with when its node ceased to
// lead, or to be a replica, it says the opposite.
func notApplied(refusal string) bool {
	return !strings.Contains(refusal, "may have been applied") && saysNotApplied.MatchString(refusal)
}

var saysNotApplied = regexp.MustCompile("read-only: |no node leads|loading|nothing was applied")

var (
	errElsewhere = errors.New("another node is to be asked")
	errBroken    = errors.New("the connection is of no use any more")
)

// doors are the ways in. What a protocol has no words for, such as a condition on a version by RESP, goes by kv frames.
var doors = []func(ctx context.Context, m *member, names keyNames, timeout time.Duration) (door, error){dialFrames, dialWeb, dialResp}

// keyNames is what the names of the keys begin with that one history is about.
type keyNames string

func (n keyNames) of(k int) string { return string(n) + string(linear.Key(k)) }

// outsideClient sends each request to a node by itself: reads to any, writes too, until one takes them.
type outsideClient struct {
	ctx     context.Context
	all     []*member
	names   keyNames
	dial    func(ctx context.Context, m *member, names keyNames, timeout time.Duration) (door, error)
	timeout time.Duration
	pace    time.Duration // about how long it waits between requests
	rng     *rand.Rand
	conns   []door         // nil: not connected
	why     map[string]int // requests had no answer, and how often
}

func newOutsideClient(ctx context.Context, all []*member, names keyNames, seed uint64, number int) *outsideClient {
	return &outsideClient{
		ctx: ctx, all: all, names: names, dial: doors[number%len(doors)], conns: make([]door, len(all)), why: map[string]int{}, rng: rand.New(rand.NewPCG(seed, uint64(number))),
		timeout: time.Duration(400+300*number) * time.Millisecond, pace: time.Duration(5+number) * time.Millisecond,
	}
}

func (c *outsideClient) Do(batch []linear.Request) []linear.Response {
	time.Sleep(time.Duration(c.rng.Int64N(int64(2 * c.pace)))) // the client's pace: the faults take their time
	all := make([]linear.Response, len(batch))
	for i, q := range batch {
		all[i] = c.do(q)
	}
	return all
}

func (c *outsideClient) do(q linear.Request) linear.Response {
	for c.ctx.Err() == nil {
		at := c.rng.IntN(len(c.all))
		if c.conns[at] == nil {
			d, err := c.dial(c.ctx, c.all[at], c.names, c.timeout)
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				continue // nothing was sent
			}
			c.conns[at] = d
		}
		r, err := c.conns[at].do(c.ctx, q)
		if err == nil {
			return r
		}
		why := fmt.Sprintf("%T: %.100v", c.conns[at], err)
		if errors.Is(err, errBroken) {
			c.conns[at].Close()
			c.conns[at] = nil
		}
		if !errors.Is(err, errElsewhere) {
			c.why[why]++
			break
		}
		time.Sleep(time.Millisecond)
	}
	return linear.Response{Unknown: true}
}

// Close closes its connections.
func (c *outsideClient) Close() {
	for _, d := range c.conns {
		if d != nil {
			d.Close()
		}
	}
}

// reads reports whether a request changes nothing, so that it can be asked again whatever became of it.
func reads(q linear.Request) bool { return q.Kind == linear.Get || q.Kind == linear.MGet }

// frames is the door of kv frames.
type frames struct {
	*client.Client
	keyNames
}

func dialFrames(ctx context.Context, m *member, names keyNames, timeout time.Duration) (door, error) {
	c, err := client.Dial(ctx, m.listen, m.options(timeout))
	return frames{c, names}, err
}

func (f frames) do(ctx context.Context, q linear.Request) (linear.Response, error) {
	r, err := linearframes.Do(ctx, f.Client, string(f.keyNames), q)
	switch {
	case errors.Is(err, client.ErrUnknown):
		return r, fmt.Errorf("%w: %w", errBroken, err)
	case err != nil && !errors.As(err, new(*protocol.Error)):
		return r, errors.Join(errBroken, errElsewhere)
	case errors.Is(err, protocol.ErrMoved):
		return r, errElsewhere
	case errors.Is(err, protocol.ErrUnavailable) && (reads(q) || notApplied(err.Error())): // the server may be about to end
		return r, errors.Join(errBroken, errElsewhere)
	}
	return r, err
}

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
			return r, err
		}
		content = string(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+w.web+"/v1/"+path, strings.NewReader(content))
	if err != nil {
		return r, err
	}
	if request.Header = headers; w.user != "" {
		request.SetBasicAuth(w.user, w.secret)
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

// redis is the door of RESP, beside one of kv frames.
type redis struct {
	net.Conn
	keyNames
	in      *bufio.Reader
	timeout time.Duration
	frames  door
}

func dialResp(ctx context.Context, m *member, names keyNames, timeout time.Duration) (door, error) {
	f, err := dialFrames(ctx, m, names, timeout)
	if err != nil {
		return nil, err
	}
	nc, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", m.listen)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	c := &redis{nc, names, bufio.NewReader(nc), timeout, f}
	if m.user != "" {
		if answer, err := c.ask([][]string{{"AUTH", m.user, m.secret}}); err != nil || answer != "OK" {
			return nil, errors.Join(fmt.Errorf("AUTH: %v", answer), err, c.Close())
		}
	}
	return c, nil
}

func (c *redis) Close() error { return errors.Join(c.Conn.Close(), c.frames.Close()) }

func (c *redis) do(ctx context.Context, q linear.Request) (r linear.Response, err error) {
	if len(q.Conditions) > 0 {
		return c.frames.do(ctx, q)
	}
	var commands [][]string
	words := map[linear.Kind]string{linear.MGet: "MGET", linear.MSet: "MSET", linear.Del: "DEL"}
	switch q.Kind {
	case linear.MGet, linear.MSet, linear.Del:
		command := []string{words[q.Kind]}
		for _, s := range q.Steps {
			if command = append(command, c.of(s.Key)); q.Kind == linear.MSet {
				command = append(command, s.Value)
			}
		}
		commands = append(commands, command)
	default:
		if q.Kind == linear.Txn {
			commands = append(commands, []string{"MULTI"})
		}
		for _, s := range q.Steps {
			key := c.of(s.Key)
			switch {
			case s.Kind == linear.Get:
				commands = append(commands, []string{"GET", key})
			case s.Kind == linear.Set && s.TTL != 0:
				commands = append(commands, []string{"SET", key, s.Value, "PX", fmt.Sprint(s.TTL.Milliseconds())})
			case s.Kind == linear.Set:
				commands = append(commands, []string{"SET", key, s.Value})
			case s.Kind == linear.Del:
				commands = append(commands, []string{"DEL", key})
			case s.Kind == linear.Incr:
				commands = append(commands, []string{"INCRBY", key, fmt.Sprint(s.By)})
			}
		}
		if q.Kind == linear.Txn {
			commands = append(commands, []string{"EXEC"})
		}
	}
	answer, err := c.ask(commands)
	if err != nil {
		return r, fmt.Errorf("%w: %w", errBroken, err)
	}
	if refused, ok := answer.(error); ok {
		switch text := refused.Error(); {
		case notApplied(text):
			return r, errElsewhere
		case strings.HasPrefix(text, "READONLY"), strings.HasPrefix(text, "EXECABORT"):
			return r, errElsewhere
		case strings.Contains(text, "not an integer"):
			return linear.Response{Refused: true}, nil
		}
		return r, refused
	}
	return c.response(q, answer)
}

// ask sends commands, and returns the last one's answer.
func (c *redis) ask(commands [][]string) (answer any, err error) {
	var b bytes.Buffer
	for _, command := range commands {
		fmt.Fprintf(&b, "*%d\r\n", len(command))
		for _, word := range command {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	c.SetDeadline(time.Now().Add(c.timeout))
	_, err = c.Write(b.Bytes())
	for range commands {
		if err == nil {
			answer, err = c.read()
		}
	}
	return answer, err
}

// response is what the answer says. It tells no versions.
func (c *redis) response(q linear.Request, answer any) (r linear.Response, err error) {
	all, ok := answer.([]any)
	if !ok || q.Kind == linear.Get {
		all = []any{answer}
	}
	r.Results = make([]linear.Result, len(q.Steps))
	for i, s := range q.Steps {
		one := all[min(i, len(all)-1)]
		n, _ := one.(int64)
		value, found := one.(string)
		switch {
		case s.Kind == linear.Get && found:
			r.Results[i].Found, r.Results[i].Value = true, value
		case s.Kind == linear.Set:
			r.Version = linear.Untold
		case s.Kind == linear.Incr:
			r.Version, r.Results[i].Value = linear.Untold, strconv.FormatInt(n, 10)
		case s.Kind == linear.Del:
			if r.Results[i].Existed = n != 0 && q.Kind == linear.Txn; n != 0 {
				r.Version = linear.Untold
			}
			if q.Kind == linear.Del {
				r.Existed = int(n)
			}
		}
	}
	return r, nil
}

// read reads an answer: nil, a string, a number, an error, or a list of them.
func (c *redis) read() (any, error) {
	line, err := c.in.ReadString('\n')
	if err != nil || len(line) < 3 {
		return nil, errors.Join(err, errBroken)
	}
	kind, rest := line[0], line[1:len(line)-2]
	if kind == '+' {
		return rest, nil
	}
	if kind == '-' {
		return errors.New(rest), nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case err != nil:
		return nil, err
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(c.in, b)
		return string(b[:n]), err
	case kind == '*':
		all := make([]any, n)
		for i := range all {
			if all[i], err = c.read(); err != nil {
				return nil, err
			}
		}
		return all, nil
	}
	return nil, fmt.Errorf("an answer that begins with %q", line)
}

// TestWhatARefusalSays: a write is asked of another node only where the refusal says that it was not applied. One that was under way may have been, and would be applied twice.
func TestWhatARefusalSays(t *testing.T) {
	for refusal, want := range map[string]bool{
		(&store.MovedError{}).Error():                                     true,
		(&store.MovedError{Leader: "host:1"}).Error():                     true,
		"the server is shutting down: nothing was applied":                true,
		"this node was removed from its cluster: nothing was applied":     true,
		"unavailable: " + store.ErrUnknown.Error():                        false,
		"UNKNOWN " + store.ErrUnknown.Error():                             false,
		"CLUSTERDOWN " + store.ErrNoMajority.Error():                      false,
		`{"status":503,"detail":"` + store.ErrUnknown.Error() + `"}`:      false,
		`{"status":503,"detail":"` + (&store.MovedError{}).Error() + `"}`: true,
	} {
		require.Equal(t, want, notApplied(refusal), refusal)
	}
}
