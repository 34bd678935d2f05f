package repl

import (
	"context"
	"strings"
	"time"

	"kv/protocol/client"
	"kv/protocol/printable"
	"kv/repl/terminal"
	"kv/repl/words"
)

// At the shell's prompt the next key ends the wait for the server, though not at once: keys that were typed ahead would.
const (
	tabTimeLeast = 100 * time.Millisecond
	tabTimeMost  = 2 * time.Second
)

// completeLine is what Tab asks in the shell, of the line before the cursor; pending are the lines before it, whose quote is
// open. typed is closed when a key is pressed. It never makes a connection, and it changes nothing of the session: it runs
// beside it, while that waits for the line.
func (s *session) completeLine(ctx context.Context, pending, before string, typed <-chan struct{}) terminal.Completion {
	whole := pending + before
	ws, quote := openWords(whole)
	c := completion{mode: s.mode}
	start := len(whole)
	if quote != 0 || len(ws) > 0 && strings.TrimRight(whole, " \t\r\n") == whole {
		w := ws[len(ws)-1]
		if w.Quoted && quote == 0 || w.Start < len(pending) {
			return terminal.Completion{} // the word is closed already, or began in another line
		}
		start, c.last, c.quoted, ws = w.Start, w.Text, w.Quoted, ws[:len(ws)-1]
	}
	c.words = ws
	if s.txn != nil {
		c.offered = func(cmd *command) bool { return cmd.inTxn && !(s.txn.failed && cmd.operation()) }
	}
	covered := foundAll
	ask := func(f func(context.Context, *client.Client)) {
		if !s.connected() {
			return
		}
		ctx, cancel := patient(ctx, typed)
		defer cancel()
		f(ctx, s.conn)
		if ctx.Err() != nil {
			covered = foundSlow
		}
	}
	c.keys = func(prefix string) (keys []string) {
		ask(func(ctx context.Context, kv *client.Client) { keys, covered = storedKeys(ctx, kv, prefix) })
		return keys
	}
	c.versions = func(key string, n int) (all []candidate) {
		ask(func(ctx context.Context, kv *client.Client) { all = keptVersions(ctx, kv, key, n) })
		return all
	}
	c.addrs = func() []string { return s.knownAddresses(ctx) }
	c.contexts = func() []string { return s.knownContexts(ctx).names() }
	all, files := c.candidates()
	if files {
		lead := ""
		if strings.HasPrefix(c.last, "-") && !c.quoted {
			name, _, _ := strings.Cut(c.last, "=")
			lead = name + "="
		}
		all = append(all, fileNames(lead, strings.TrimPrefix(c.last, lead))...)
	}
	t := terminal.Completion{Start: start - len(pending), More: covered == foundMany}
	if covered == foundSlow {
		t.Note = "not all was looked at in time"
	}
	for _, f := range all {
		t.List = append(t.List, f.typed(0, true))
	}
	if len(all) == 0 || covered != foundAll { // what some have in common need not be common to all
		return t
	}
	if len(all) == 1 {
		f := all[0]
		if t.Text = f.typed(quote, !f.open); !f.open {
			t.Text += " "
		}
		return t
	}
	var found []string
	for _, f := range all {
		found = append(found, f.word)
	}
	if common := commonPrefix(found); len(common) > len(c.last) {
		f := all[0]
		f.word, f.lead = common, min(f.lead, len(common))
		t.Text = f.typed(quote, false)
	}
	return t
}

// openWords splits a line whose last quote may be open; that quote is returned, or 0.
func openWords(line string) (ws []words.Word, quote byte) {
	for _, quote := range []byte{0, '"', '\''} {
		closed := line
		if quote != 0 {
			closed += string(quote)
		}
		if ws, err := words.Split(closed); err == nil {
			return ws, quote
		}
	}
	return nil, 0
}

// typed is how a candidate is written where its word was begun with quote, or, if that is 0, without. A whole word is closed.
func (c candidate) typed(quote byte, whole bool) string {
	lead, rest := c.word[:c.lead], c.word[c.lead:]
	switch {
	case rest == "" && lead != "":
		return lead
	case quote == 0 && (words.Bare(rest) == rest || rest == ""):
		return lead + rest
	case quote == '\'' && printable.Is(rest) && !strings.Contains(rest, "'"):
		rest = "'" + rest + "'"
	default:
		rest = words.Quote([]byte(rest))
	}
	if !whole {
		rest = rest[:len(rest)-1]
	}
	return lead + rest
}

// patient returns a context that ends when the server was waited for long enough.
func patient(ctx context.Context, typed <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, tabTimeMost)
	go func() {
		select {
		case <-time.After(tabTimeLeast):
		case <-ctx.Done():
		}
		select {
		case <-typed:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
