package repl

import (
	"context"
	"embed"
	"fmt"
	"strings"
	"unicode/utf8"

	"kv/protocol/client"
	"kv/protocol/printable"
	"kv/repl/words"
)

// The hidden commands that the scripts for bash, zsh and fish call. The first has the words of the line as arguments, as
// the shell will pass them on, and answers with a candidate a line, its description after a TAB, and at last, after a colon,
// what else the shell may do. The second has what bash knows of the line, and answers with whether it may complete names of
// files, and then what it is to put into the line.
const (
	completeRequest     = "__complete"
	completeBashRequest = "__complete-bash"
)

// directiveNoFiles tells the scripts not to complete names of files.
const directiveNoFiles = 4

func (s *session) complete(ctx context.Context, args []string) error {
	c := s.scriptCompletion(ctx, args)
	all, files := c.candidates()
	for _, f := range all {
		if printable.Is(f.word) { // others can't be told in a line
			fmt.Fprintf(s.out, "%s\t%s\n", f.word, f.says)
		}
	}
	if files {
		s.out.WriteString(":0\n")
	} else {
		fmt.Fprintf(s.out, ":%d\n", directiveNoFiles)
	}
	return nil
}

// scriptCompletion is the completion of a command line of kvc; args are the words after kvc, with the one under the cursor.
func (s *session) scriptCompletion(ctx context.Context, args []string) *completion {
	c := &completion{
		mode:     oneShot,
		addrs:    func() []string { return s.knownAddresses(ctx) },
		contexts: func() []string { return s.knownContexts(ctx).names() },
	}
	for i, a := range args {
		if i == len(args)-1 {
			c.last = a
		} else {
			c.words = append(c.words, words.Word{Text: a})
		}
	}
	ask := func(f func(context.Context, *client.Client)) {
		// The server is the one that the line itself names.
		g := newFlags()
		g.ParseErrorsAllowlist.UnknownFlags = true
		s.opts.bind(g)
		g.Parse(args)
		s.opts.given(g)
		ctx, cancel := context.WithTimeout(ctx, completeTime)
		defer cancel()
		if kv, err := s.client(ctx); err == nil {
			f(ctx, kv)
		}
	}
	c.keys = func(prefix string) (keys []string) {
		ask(func(ctx context.Context, kv *client.Client) {
			var found coverage
			keys, found = storedKeys(ctx, kv, prefix)
			if found != foundAll && len(keys) > 0 && commonPrefix(keys) != prefix {
				keys = nil // the shell would take what these have in common for what all have
			}
		})
		return keys
	}
	c.versions = func(key string, n int) (all []candidate) {
		ask(func(ctx context.Context, kv *client.Client) { all = keptVersions(ctx, kv, key, n) })
		return all
	}
	return c
}

// completeBash answers bash: breaks is COMP_WORDBREAKS, line what stands before the cursor.
func (s *session) completeBash(ctx context.Context, breaks, line string) error {
	ws := bashWords(line)
	if len(ws) < 2 { // kvc itself
		return nil
	}
	var args []string
	for _, w := range ws[1:] {
		args = append(args, w.text)
	}
	last := ws[len(ws)-1]
	c := s.scriptCompletion(ctx, args)
	all, files := c.candidates()
	known, quote := last.known(breaks)
	fmt.Fprintf(s.out, "files=%v\n", files)
	for _, f := range all {
		rest, ok := strings.CutPrefix(f.word, known)
		if !ok {
			continue
		}
		if rest, ok = bashQuoted(rest, quote, known == ""); ok {
			fmt.Fprintln(s.out, rest)
		}
	}
	return nil
}

// bashWord is a word of a line of bash.
type bashWord struct {
	text  string // without its quotes
	plain []bool // of each byte of text: no quote or backslash hides it, so that as a word break it is one
	quote byte   // the quote that is open at its end: ', ", or 0
	from  int    // where in text that quote begins
}

// bashWords splits a line as bash does, as far as completion needs it: nothing is expanded. The last word is the one under
// the cursor, and may be empty.
func bashWords(line string) (all []bashWord) {
	var w bashWord
	in := false // inside a word
	add := func(c byte, plain bool) {
		w.text, w.plain, in = w.text+string([]byte{c}), append(w.plain, plain), true
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case w.quote != 0 && c == w.quote:
			w.quote = 0
		case w.quote == '\'':
			add(c, false)
		case c == '\\' && i+1 < len(line) && (w.quote == 0 || strings.IndexByte("\"\\$`", line[i+1]) >= 0):
			i++
			add(line[i], false)
		case w.quote != 0:
			add(c, false)
		case c == '\'' || c == '"':
			w.quote, w.from, in = c, len(w.text), true
		case c == ' ' || c == '\t' || c == '\n':
			if in {
				all = append(all, w)
			}
			w, in = bashWord{}, false
		default:
			add(c, true)
		}
	}
	return append(all, w)
}

// known is the part of the word that bash keeps as it is: what stands before the quote that is open, or else up to the last
// word break.
func (w bashWord) known(breaks string) (string, byte) {
	if w.quote != 0 {
		return w.text[:w.from], w.quote
	}
	for i := len(w.text) - 1; i >= 0; i-- {
		if w.plain[i] && strings.IndexByte(breaks, w.text[i]) >= 0 {
			if w.text[i] == '@' || w.text[i] == '$' {
				return w.text[:i], 0 // bash takes these for the start of the word that they break
			}
			return w.text[:i+1], 0
		}
	}
	return "", 0
}

// bashQuoted quotes s for bash, behind an open quote, or none where quote is 0. The second result is false where s can't
// be quoted.
func bashQuoted(s string, quote byte, first bool) (string, bool) {
	if !printable.Is(s) || quote == '\'' && strings.Contains(s, "'") || quote == '"' && strings.Contains(s, "!") {
		return "", false
	}
	if quote == '\'' {
		return s, true
	}
	special := " \t\\\"'`$&|;<>(){}[]*?!^"
	if quote == '"' {
		special = "\\\"`$"
	}
	var b strings.Builder
	for i, r := range s {
		if strings.ContainsRune(special, r) || quote == 0 && first && i == 0 && (r == '#' || r == '~') {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String(), true
}

// commonPrefix is what all of the words begin with, in whole runes.
func commonPrefix(all []string) string {
	common := all[0]
	for _, s := range all[1:] {
		n := 0
		for n < len(common) && n < len(s) && common[n] == s[n] {
			n++
		}
		common = common[:n]
	}
	for n := len(common); n < len(all[0]) && n > 0 && !utf8.RuneStart(all[0][n]); n-- {
		common = common[:n-1]
	}
	return common
}

//go:embed completion
var completionScripts embed.FS

// completion prints the script for a shell.
func (c *call) completion() error {
	script, err := completionScripts.ReadFile("completion/kvc." + string(c.key(0)))
	if err != nil {
		return usagef("there is completion for bash, zsh and fish")
	}
	_, err = c.out.Write(script)
	return err
}
