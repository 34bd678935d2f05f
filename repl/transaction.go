package repl

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"kv/protocol"
)

func transactionCommands() []*command {
	return []*command{
		{
			name: "begin", where: shellOnly,
			short: "Begin a transaction.",
			long: "Reads go to the server, and see what the transaction itself wrote; writes are kept until `commit`. " +
				"At `commit` all is applied at one instant, if every key that was read still has the version that it had; else nothing is, and the key that changed is named. " +
				"An error inside fails it: then everything but `abort` and `commit` is refused, and both apply nothing. Possible inside: get, mget, set, mset, del.",
			examples: []example{
				{"begin", "then, for example: get from, set from 90, set to 110, commit"},
			},
			build: func(flags) func(*call) error { return (*call).begin },
		},
		{
			name: "commit", where: shellOnly, inTxn: true,
			short:    "Apply the open transaction, all or nothing.",
			examples: []example{{"commit", "exit code 3 in a script where a key that was read has changed"}},
			build:    func(flags) func(*call) error { return (*call).commit },
		},
		{
			name: "abort", where: shellOnly, inTxn: true,
			short:    "Forget the open transaction.",
			examples: []example{{"abort", "nothing of it is applied"}},
			build:    func(flags) func(*call) error { return (*call).abort },
		},
		{
			name: "txn", where: kvcOnly,
			short: "Run a transaction that stdin holds: one request, one instant, all or nothing.",
			long: "One command a line, of get, mget, set, mset and del, written as in the shell (`help shell`). A read sees what the lines before it wrote. " +
				"A `set` with `--if-version` or `--if-absent` makes all of it depend on that; where it does not hold, nothing is done, and the exit code is 3. " +
				"It prints what the reads found: a get as a line, an mget as mget does.",
			examples: []example{
				{`txn <<< 'get queue:head'`, "one read"},
				{`txn < transfer.txt`, "as many lines as there are"},
			},
			build: func(flags) func(*call) error { return (*call).txnFromStdin },
		},
	}
}

// transaction is what was read and what is to be written between begin and commit. It is the shell's alone: the server
// hears of the writes, and of the versions that the reads saw, when it is committed.
type transaction struct {
	conditions []protocol.Condition
	seen       map[string]int // by key: its place in conditions
	ops        []protocol.TxnOp
	last       map[string]int // by key: its last write in ops

	// Something in it went wrong. It stays open until abort or commit, so that what was meant to be a part of it, and is
	// still to come, does not run by itself.
	failed bool

	// One request: reads become operations too, and are printed when their results are there.
	oneRequest bool
	results    []func([]protocol.TxnResult)
}

func newTransaction() *transaction {
	return &transaction{seen: map[string]int{}, last: map[string]int{}}
}

var (
	errNoTxn = usageError{"no transaction is open: begin one"}
	// errTxnFailed is the error of a command that comes after what made the transaction fail.
	errTxnFailed = usageError{"not done, for the transaction has failed: only abort and commit end it, and nothing of it is applied"}
	// errTxnGone is the error of a transaction whose connection was lost: what its reads promised can't be relied on.
	errTxnGone = errors.New("the connection was lost, and the open transaction with it: nothing of it was applied")
)

// fail makes the open transaction, if there is one, a failed one.
func (s *session) fail() {
	if s.txn != nil {
		s.txn.failed = true
	}
}

// guarded runs a command inside of the open transaction. In a transaction that has failed, only commands that end it,
// or are no part of it, are run. An error of the command makes the transaction fail; so does a begin that fails, since
// the commands behind it rely on it.
func (s *session) guarded(cmd *command, run func() error) error {
	aside := cmd != nil && cmd.inTxn && !cmd.operation() // commit, abort, and what neither reads nor writes
	if s.txn != nil && s.txn.failed && !aside {
		return errTxnFailed
	}
	err := run()
	if err == nil || cmd != nil && cmd.outsideTxn {
		return err
	}
	if s.txn == nil && cmd != nil && cmd.name == "begin" && s.mode != oneShot {
		s.txn = newTransaction()
	}
	s.fail()
	return err
}

func (c *call) begin() error {
	if _, err := c.client(); err != nil {
		return err
	}
	c.txn = newTransaction()
	c.ok()
	return nil
}

func (c *call) abort() error {
	if c.txn == nil {
		return errNoTxn
	}
	c.txn = nil
	c.ok()
	return nil
}

func (c *call) commit() error {
	t := c.txn
	if t == nil {
		return errNoTxn
	}
	if t.failed {
		c.txn = nil
		return usagef("the transaction had failed: nothing of it was applied")
	}
	kv, err := c.client()
	c.txn = nil // whatever comes of it
	if err != nil {
		return err
	}
	p, err := kv.Txn(c.ctx, protocol.Txn{Conditions: t.conditions, Ops: t.ops})
	if err != nil {
		return t.explain(err)
	}
	c.wrote(p.Version, false)
	return nil
}

// explain names the key whose condition did not hold.
func (t *transaction) explain(err error) error {
	var e *protocol.Error
	if !errors.As(err, &e) || e.Status != protocol.StatusConflict || e.Index < 0 || e.Index >= len(t.conditions) {
		return err
	}
	return changed(t.conditions[e.Index], e.Version)
}

// changed is the error of a key that no longer has the version which the transaction relies on.
func changed(c protocol.Condition, now uint64) error {
	is := "has version " + decimal(now)
	if now == 0 {
		is = "is absent"
	}
	was := "version " + decimal(c.Version)
	if c.Version == 0 {
		was = "its absence"
	}
	return conflictError{fmt.Sprintf("conflict: the transaction relies on %s of %s, which %s now; nothing was applied",
		was, shown(c.Key), is)}
}

// own returns what the transaction itself wrote to key.
func (t *transaction) own(key []byte) (v protocol.Value, wrote bool) {
	i, ok := t.last[string(key)]
	if !ok {
		return v, false
	}
	op := t.ops[i]
	return protocol.Value{Found: op.Kind != protocol.TxnDel && !past(op.ExpireAt), Data: op.Value}, true
}

// past reports whether an expiry, 0 for none, has passed by this machine's clock: the server's decides at the commit.
func past(expiry uint64) bool { return expiry != 0 && expiry <= uint64(time.Now().UnixMilli()) }

// get reads a key through the transaction.
func (t *transaction) get(c *call, key []byte) (protocol.Value, error) {
	values, err := t.mget(c, [][]byte{key})
	if err != nil {
		return protocol.Value{}, err
	}
	return values[0], nil
}

// mget reads keys through the transaction: those that it wrote from itself, the others at one instant from the server.
func (t *transaction) mget(c *call, keys [][]byte) ([]protocol.Value, error) {
	values := make([]protocol.Value, len(keys))
	var ask [][]byte
	var at []int
	for i, key := range keys {
		v, wrote := t.own(key)
		if values[i] = v; !wrote {
			ask, at = append(ask, key), append(at, i)
		}
	}
	kv, err := c.client()
	if err != nil || len(ask) == 0 {
		return values, err
	}
	read, err := kv.MGet(c.ctx, ask...)
	if err != nil {
		return nil, err
	}
	for i, v := range read {
		values[at[i]] = v
		if err := t.saw(ask[i], v.Version); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// saw makes the version of a key that was read a condition.
func (t *transaction) saw(key []byte, version uint64) error {
	if i, ok := t.seen[string(key)]; ok {
		if t.conditions[i].Version != version {
			return changed(t.conditions[i], version)
		}
		return nil
	}
	t.seen[string(key)] = len(t.conditions)
	t.conditions = append(t.conditions, protocol.Condition{Version: version, Key: key})
	return nil
}

func (t *transaction) set(q protocol.Set) error {
	if q.Conditional {
		if _, wrote := t.last[string(q.Key)]; wrote {
			return usagef("a condition on %s comes too late: the transaction wrote it already", shown(q.Key))
		}
		if err := t.saw(q.Key, q.IfVersion); err != nil {
			return err
		}
	}
	t.last[string(q.Key)] = len(t.ops)
	op := protocol.TxnOp{Kind: protocol.TxnSet, Key: q.Key, Value: q.Value, TTL: q.TTL}
	if q.ExpireAt != 0 {
		op.Kind, op.ExpireAt = protocol.TxnSetAt, q.ExpireAt
	}
	t.ops = append(t.ops, op)
	return nil
}

func (t *transaction) del(key []byte) {
	t.last[string(key)] = len(t.ops)
	t.ops = append(t.ops, protocol.TxnOp{Kind: protocol.TxnDel, Key: key})
}

// later queues the reads of keys, and show with their values for when they are there.
func (t *transaction) later(keys [][]byte, show func([]protocol.Value)) {
	first := len(t.ops)
	for _, key := range keys {
		t.ops = append(t.ops, protocol.TxnOp{Kind: protocol.TxnGet, Key: key})
	}
	t.results = append(t.results, func(all []protocol.TxnResult) {
		values := make([]protocol.Value, len(keys))
		for i := range keys {
			values[i] = all[first+i].Value
		}
		show(values)
	})
}

// txnFromStdin reads a whole transaction, sends it as one request and prints what its reads found.
func (c *call) txnFromStdin() error {
	t := newTransaction()
	t.oneRequest = true
	inner := *c.session
	inner.mode, inner.txn = script, t
	in := newLines(bufio.NewReader(c.stdin()))
	for {
		line, err := in.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if cmd := findCommand(line.words[0].Text); cmd != nil && !cmd.operation() {
			return lineError{line.number, usagef("%s is not for txn: stdin is one transaction of get, mget, set, mset and del, applied at its end", cmd.name)}
		}
		if err := inner.run(c.ctx, line.words); err != nil {
			return lineError{line.number, err}
		}
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	p, err := kv.Txn(c.ctx, protocol.Txn{WithMeta: true, Conditions: t.conditions, Ops: t.ops})
	if err != nil {
		return t.explain(err)
	}
	if c.opts.json {
		fmt.Fprintf(c.out, "{\"version\":%d,\"reads\":", p.Version)
		defer c.out.WriteString("}\n")
		list := jsonList{s: c.session}
		defer list.close()
		for i, op := range t.ops {
			if op.Kind == protocol.TxnGet {
				list.next()
				c.jsonValue(op.Key, p.Results[i].Value)
			}
		}
		return nil
	}
	for _, show := range t.results {
		show(p.Results)
	}
	return nil
}
