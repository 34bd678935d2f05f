package repl

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"kv/protocol/printable"
	"kv/repl/terminal"
	"kv/repl/words"
)

// shell asks for commands at a prompt until Ctrl-D or exit.
func (s *session) shell(ctx context.Context) error {
	s.mode = interactive
	in, ok1 := s.env.In.(*os.File)
	out, ok2 := s.env.Out.(*os.File)
	if !ok1 || !ok2 {
		return usagef("the shell needs a terminal")
	}
	sh := &shell{session: s}
	c := terminal.Config{
		In: in, Out: out, HistoryFile: s.historyFile(), Secret: secret,
		Complete: func(before string, typed <-chan struct{}) terminal.Completion {
			return s.completeLine(ctx, sh.pending, before, typed)
		},
	}
	if s.colour(grey, "") != "" { // without grey they would look like what was typed
		c.Hint = hintLine
	}
	var t lineReader
	if s.dumb() {
		t = terminal.OpenPlain(c)
	} else {
		full, err := terminal.Open(c)
		if err != nil {
			return err
		}
		t = full
	}
	defer t.Close()
	stop := context.AfterFunc(ctx, t.HangUp)
	defer stop()
	if s.env.OnInterrupt != nil {
		s.env.OnInterrupt(t.Interrupt)
	}
	sh.t, s.ask, s.pressed = t, t.Ask, t.Key
	sh.interruptible(ctx, func(ctx context.Context) error {
		kv, err := s.client(ctx)
		if err == nil {
			as := ""
			if s.user != "" {
				as = " as " + s.user
			}
			s.notef("connected to %s%s", kv.Addr(), as)
			s.greet(ctx)
		}
		return err
	})
	for {
		if err := sh.next(ctx); err != nil {
			if s.txn != nil {
				s.notef("the open transaction was not applied")
			}
			return nil
		}
	}
}

// lineReader is a terminal with a person at it: a terminal.Terminal, or a terminal.Plain where there are no escape sequences.
type lineReader interface {
	Line(prompt string) (string, error)
	Ask(ctx context.Context, prompt string, echo bool) (string, error)
	Key(ctx context.Context) (rune, error)
	SetPrompt(prompt string)
	Remember(line string)
	Running(cancel func()) (stop func())
	Interrupt()
	Lend() (back func())
	HangUp()
	Close()
}

// shell is a session at a prompt.
type shell struct {
	*session
	t       lineReader
	pending string // the lines so far of a command whose quote is open
}

// next asks for one line and runs it. An error of next ends the shell.
func (sh *shell) next(ctx context.Context) error {
	sh.lookAtConnection()
	line, err := sh.ask()
	sh.lookAtConnection()
	switch {
	case err == terminal.ErrInterrupt:
		sh.pending = ""
		return nil
	case err == terminal.ErrNotUTF8:
		sh.pending = ""
		sh.failed(err)
		return nil
	case err == io.EOF && sh.pending != "" && ctx.Err() == nil:
		sh.pending = ""
		sh.failed(usagef("a quote was left open: nothing was run"))
		return nil
	case err != nil:
		return err
	}
	whole := sh.pending + line
	ws, err := words.Split(whole)
	if _, ok := piped(ws); ok {
		err = nil // what follows the | is split by another shell
	}
	if errors.Is(err, words.ErrOpenQuote) {
		sh.pending = whole + "\n"
		return nil
	}
	sh.pending = ""
	trimmed := strings.TrimSpace(whole)
	if trimmed == "" || trimmed[0] == '#' {
		return nil
	}
	if !loginWithSecret(ws) {
		sh.t.Remember(oneLine(whole, ws))
	}
	if err != nil {
		sh.failed(usageError{err.Error()})
		return nil
	}
	err = sh.interruptible(ctx, func(ctx context.Context) error {
		if at, ok := piped(ws); ok {
			return sh.runPiped(ctx, whole, ws, at)
		}
		if sh.pages(ws) {
			return sh.runPaged(ctx, ws)
		}
		return sh.timed(ctx, ws)
	})
	if err == errExit || sh.stdout.err != nil {
		return err
	}
	return nil
}

// lookAtConnection makes the open transaction fail where its connection is lost, and says so.
func (sh *shell) lookAtConnection() {
	if sh.txn != nil && !sh.txn.failed && !sh.connected() {
		sh.fail()
		sh.complain(errTxnGone)
	}
}

// ask shows the prompt. While it waits, the prompt tells when the connection is lost.
func (sh *shell) ask() (string, error) {
	prompt := sh.prompt()
	if sh.pending != "" || !sh.connected() || sh.txn != nil && sh.txn.failed {
		return sh.t.Line(prompt)
	}
	asked := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		select {
		case <-sh.conn.Done():
			sh.t.SetPrompt(notConnected)
		case <-asked:
		}
	}()
	line, err := sh.t.Line(prompt)
	close(asked)
	<-told
	return line, err
}

const notConnected = "kv (not connected)> "

func (sh *shell) prompt() string {
	switch {
	case sh.pending != "":
		return "...> "
	case sh.txn != nil && sh.txn.failed:
		return sh.where() + "!> "
	case !sh.connected():
		return notConnected
	case sh.txn != nil:
		return sh.where() + "*> "
	}
	return sh.where() + "> "
}

// where is the prompt's name of the server: beyond this machine, and in a cluster, with its address, and with the user;
// in a cluster with what it does there.
func (s *session) where() string {
	if s.conn == nil {
		return "kv"
	}
	at := s.conn.Leader()
	role := s.place.role(at)
	if loopback(at) && role == "" {
		return "kv"
	}
	name := "kv "
	if s.user != "" {
		name += printable.Line(s.user) + "@"
	}
	if name += printable.Line(at); role != "" {
		name += " " + role
	}
	return name
}

// placeInCluster is the place of the shell's server in its cluster. The zero value: the server is in none.
type placeInCluster struct {
	at    string // the server that was asked
	leads bool   // it did then
}

// role is what the server at this address does, as far as is known: requests go on to another only where that leads.
func (p placeInCluster) role(at string) string {
	switch {
	case p.at == "":
		return ""
	case p.leads || at != p.at:
		return "leader"
	}
	return "follower"
}

// loopback reports whether an address is this machine's own.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // a socket in the file system
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// interruptible runs f so that Ctrl-C cancels it, and says what went wrong.
func (sh *shell) interruptible(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := sh.t.Running(cancel)
	err := f(ctx)
	stop()
	if err == nil && ctx.Err() != nil && sh.txn != nil && !sh.txn.failed {
		// Ctrl-C forgot what was typed ahead: a part of the transaction may be missing.
		sh.fail()
		err = ctx.Err()
	}
	if err != nil && err != errExit {
		sh.complain(err)
	}
	return err
}

// failed says why a line was not run.
func (sh *shell) failed(err error) {
	sh.complain(err)
	sh.fail()
}

// oneLine is a command as the history keeps it: on one line.
func oneLine(whole string, ws []words.Word) string {
	if !strings.Contains(whole, "\n") {
		return whole
	}
	all := make([]string, len(ws))
	for i, w := range ws {
		if all[i] = words.Bare(w.Text); !w.Quoted && strings.HasPrefix(w.Text, "-") {
			all[i] = w.Text // an option
		}
	}
	return strings.Join(all, " ")
}

// historyFile is where the XDG base folders say that state belongs; "": nobody knows.
func (s *session) historyFile() string {
	if dir := s.env.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kv", "history")
	}
	if home := s.env.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "kv", "history")
	}
	return ""
}

// secret reports whether a line is kept out of the history file: it begins with a space, as shells have it, or something
// in it calls itself a secret.
func secret(line string) bool {
	if strings.HasPrefix(line, " ") {
		return true
	}
	lower := strings.ToLower(line)
	for _, word := range []string{"secret", "password", "passwd", "passphrase", "token", "credential", "api-key",
		"apikey", "api_key"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	first, _, _ := strings.Cut(lower, " ")
	return first == "auth" || first == "hello" // redis-cli's habits
}
