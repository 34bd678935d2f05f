package repl

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kv/protocol"
	"kv/protocol/client"
	"kv/repl/words"
)

// Bounds of completing a stored key: what comes later, or beyond, is not offered.
const (
	completeTime = 100 * time.Millisecond
	completeKeys = 200
)

// candidate is what a word may become, and what that is.
type candidate struct{ word, says string }

// completion is a command line that is to be completed.
type completion struct {
	words []words.Word // before the one under the cursor
	last  string       // the one under the cursor, unquoted
	mode  mode
	keys  func(prefix string) []string
}

// candidates returns what the last word may become, and whether it may also be the name of a file.
func (c completion) candidates() (all []candidate, files bool) {
	cmd, rest, files := c.command()
	if files {
		return nil, true
	}
	option := strings.HasPrefix(c.last, "-")
	if cmd == nil {
		if len(rest) > 0 {
			return nil, false
		}
		if option && c.mode == oneShot {
			return c.options(globalFlags()), false
		}
		for _, cmd := range commands() {
			if cmd.usable(c.mode) && strings.HasPrefix(cmd.name, c.last) {
				all = append(all, candidate{cmd.name, cmd.short})
			}
		}
		return all, false
	}
	f := cmd.flags()
	o := defaultOptions()
	if c.mode == oneShot {
		o.bind(f)
	} else {
		o.bindEach(f)
	}
	position, literal := 0, false
	for i := 0; i < len(rest); i++ {
		w := rest[i]
		switch {
		case literal || w.Quoted || !strings.HasPrefix(w.Text, "-") || w.Text == "-":
			position++
		case w.Text == "--":
			literal = true
		default:
			if g := valueFlag(f, w.Text); g != nil {
				if i++; i == len(rest) {
					return nil, isFile(g.Value.Type())
				}
			}
		}
	}
	if option && !literal {
		return c.options(f), false
	}
	for _, choice := range cmd.choices() {
		if position == 0 && strings.HasPrefix(choice, c.last) {
			all = append(all, candidate{choice, ""})
		}
	}
	if cmd.keyAt(position) {
		for _, key := range c.keys(c.last) {
			all = append(all, candidate{key, ""})
		}
	}
	return all, position == 0 && strings.Contains(cmd.args, "FILE")
}

// command finds the command among the words; rest is what follows it. files: the last word is the file of a global option.
func (c completion) command() (cmd *command, rest []words.Word, files bool) {
	global := globalFlags()
	for i := 0; i < len(c.words); i++ {
		w := c.words[i].Text
		if c.mode == oneShot && strings.HasPrefix(w, "-") {
			if g := valueFlag(global, w); g != nil {
				if i++; i == len(c.words) {
					return nil, c.words, isFile(g.Value.Type())
				}
			}
			continue
		}
		if cmd := findCommand(w); cmd != nil && cmd.usable(c.mode) {
			return cmd, c.words[i+1:], false
		}
		return nil, c.words[i:], false
	}
	return nil, nil, false
}

func isFile(placeholder string) bool { return placeholder == "FILE" || placeholder == "F" }

// valueFlag returns the option that word is, where its value is the next word.
func valueFlag(f flags, word string) *pflag.Flag {
	g := f.Lookup(strings.TrimPrefix(word, "--"))
	if g == nil || g.NoOptDefVal != "" || !strings.HasPrefix(word, "--") {
		return nil
	}
	return g
}

func (c completion) options(f flags) (all []candidate) {
	f.VisitAll(func(g *pflag.Flag) {
		if name := "--" + g.Name; strings.HasPrefix(name, c.last) {
			all = append(all, candidate{name, g.Usage})
		}
	})
	return all
}

// choices are the words that the first argument may be.
func (c *command) choices() []string {
	switch c.name {
	case "help":
		all := strings.Split(topicNames(), ", ")
		for _, cmd := range commands() {
			all = append(all, cmd.name)
		}
		return all
	case "context":
		return []string{"ls", "show", "use", "add", "rm"}
	case "timing", "completion":
		return strings.Split(c.args, " | ")
	}
	return nil
}

// keyAt reports whether the argument at this position is a key that exists.
func (c *command) keyAt(position int) bool {
	switch c.keys {
	case firstKey:
		return position == 0
	case evenKeys:
		return position%2 == 0
	}
	return c.keys == allKeys
}

// storedKeys returns some keys that begin with prefix, if the server tells them in time.
func storedKeys(ctx context.Context, c *client.Client, prefix string) []string {
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	q := protocol.Scan{Limit: completeKeys, Prefix: []byte(prefix)}
	var keys []string
	for len(keys) < completeKeys {
		page, err := c.Scan(ctx, q)
		if err != nil {
			break
		}
		for _, it := range page.Items {
			keys = append(keys, string(it.Key))
		}
		if q.Cursor = page.Cursor; len(q.Cursor) == 0 {
			break
		}
	}
	slices.Sort(keys)
	if len(q.Cursor) > 0 {
		// Not all were looked at. Another word keeps what these happen to have in common from being taken for all.
		keys = append(keys, prefix+"…")
	}
	return keys
}

// completeLine is what Tab asks in the shell. It never makes a connection, and it changes nothing of the session: it runs
// beside it, while that waits for the line.
func (s *session) completeLine(ctx context.Context, before string) (all []string, word string) {
	start := len(before) // of the last word
	quoted := false
	c := completion{mode: s.mode}
	ws, err := words.Split(before)
	if err != nil {
		// An open quote: what it is closed with makes it a word.
		if ws, err = words.Split(before + `"`); err != nil {
			return nil, ""
		}
		quoted = true
	}
	if quoted || strings.TrimRight(before, " \t\r\n") == before && len(ws) > 0 {
		w := ws[len(ws)-1]
		if w.Quoted != quoted {
			return nil, "" // the word is closed already, or it is open in its midst
		}
		start, c.last, ws = w.Start, w.Text, ws[:len(ws)-1]
	}
	word, c.words = before[start:], ws
	c.keys = func(prefix string) (keys []string) {
		if !s.connected() {
			return nil
		}
		for _, key := range storedKeys(ctx, s.conn, prefix) {
			switch {
			case quoted:
				keys = append(keys, words.Quote([]byte(key)))
			case words.Bare(key) == key || word == "":
				keys = append(keys, words.Bare(key))
			}
		}
		return keys
	}
	found, _ := c.candidates()
	for _, f := range found {
		if strings.HasPrefix(f.word, word) {
			all = append(all, f.word)
		}
	}
	return all, word
}

// completeRequest is the hidden command that the scripts for bash, zsh and fish call. Its answer is a candidate a line, its
// description after a TAB, and at last a colon and what else the shell may do.
const completeRequest = "__complete"

const (
	directiveFiles   = 0 // complete the names of files
	directiveNoFiles = 4
)

func (s *session) complete(ctx context.Context, args []string) error {
	c := completion{mode: oneShot}
	for i, a := range args {
		if i == len(args)-1 {
			c.last = a
		} else {
			c.words = append(c.words, words.Word{Text: a})
		}
	}
	c.keys = func(prefix string) (keys []string) {
		// The server is the one that the line itself names.
		f := newFlags()
		f.ParseErrorsAllowlist.UnknownFlags = true
		s.opts.bind(f)
		f.Parse(args)
		s.opts.given(f)
		ctx, cancel := context.WithTimeout(ctx, completeTime)
		defer cancel()
		kv, err := s.client(ctx)
		if err != nil {
			return nil
		}
		for _, key := range storedKeys(ctx, kv, prefix) {
			if !strings.ContainsFunc(key, special) && words.Bare(key) == key {
				keys = append(keys, key)
			}
		}
		return keys
	}
	found, files := c.candidates()
	for _, f := range found {
		fmt.Fprintf(s.out, "%s\t%s\n", f.word, f.says)
	}
	if files {
		fmt.Fprintf(s.out, ":%d\n", directiveFiles)
	} else {
		fmt.Fprintf(s.out, ":%d\n", directiveNoFiles)
	}
	return nil
}

// special reports whether a shell would do something with r. Keys with such runes are not offered: each shell would need
// them written in another way.
func special(r rune) bool { return strings.ContainsRune(" \t\\\"'`$&|;<>(){}[]*?!#~^", r) }

//go:embed completion.bash
var bashCompletion string

// completion prints the script for a shell.
func (c *call) completion() error {
	root := &cobra.Command{Use: "kvc"}
	var b bytes.Buffer
	var err error
	switch shell := string(c.key(0)); shell {
	case "bash":
		b.WriteString(bashCompletion) // cobra's does not work without the bash-completion package
	case "zsh":
		err = root.GenZshCompletion(&b)
	case "fish":
		err = root.GenFishCompletion(&b, true)
	default:
		return usagef("there is completion for bash, zsh and fish")
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(c.out, &b)
	return err
}
