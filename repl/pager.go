package repl

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"kv/repl/words"
)

// pagedCommands are those whose answers may be longer than the screen.
var pagedCommands = []string{"get", "mget", "meta", "scan", "history", "stats", "export", "help"}

// pages reports whether the answer of a command is for the pager where it is long: the user has named one in PAGER.
func (sh *shell) pages(ws []words.Word) bool {
	cmd := findCommand(ws[0].Text)
	watching := slices.ContainsFunc(ws, func(w words.Word) bool { return strings.HasPrefix(w.Text, "--watch") && !w.Quoted })
	return sh.env.Getenv("PAGER") != "" && !sh.dumb() && cmd != nil && slices.Contains(pagedCommands, cmd.name) && !watching
}

// runPaged runs a command; what is longer than the screen goes through the pager.
func (sh *shell) runPaged(ctx context.Context, ws []words.Word) error {
	s := sh.session
	env, out, stdout := s.env, s.out, s.stdout
	columns, rows := env.Size()
	p := &pager{sh: sh, env: env, columns: columns, room: rows - 1}
	s.env.Out = p
	s.openOutput()
	start := time.Now()
	err := s.run(ctx, ws)
	took := time.Since(start)
	s.env, s.out, s.stdout = env, out, stdout
	if end := p.end(); err == nil || silent(err) {
		err = end
	}
	if p.child == nil && (s.timing || took > slow) {
		s.notef("(%s)", seconds(took))
	}
	return err
}

// pager keeps what is written while it fits the screen, and then starts the user's pager and gives it all.
type pager struct {
	sh            *shell
	env           Env
	columns, room int // of the screen
	kept          []byte
	child         *child // nil: not started
	back          func() // takes the terminal back from it
}

func (p *pager) Write(b []byte) (int, error) {
	if p.child != nil {
		return p.child.Write(b)
	}
	p.kept = append(p.kept, b...)
	if bytes.Count(p.kept, []byte("\n"))+len(p.kept)/max(1, p.columns)/4 < p.room { // bytes are not columns: a long line counts for less
		return len(b), nil
	}
	p.child = &child{start: func() (io.WriteCloser, func() error, error) { return startChild(p.env.Getenv("PAGER"), p.env) }}
	p.back = p.sh.t.Lend()
	_, err := p.child.Write(p.kept)
	return len(b), err
}

// end writes what fits, or waits for the pager's end.
func (p *pager) end() error {
	if p.child == nil {
		if _, err := p.env.Out.Write(p.kept); err != nil {
			return outputError{err}
		}
		return nil
	}
	defer p.back()
	return p.child.end(true)
}
