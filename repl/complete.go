package repl

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kv/protocol"
	"kv/protocol/client"
	"kv/repl/words"
)

// Bounds of what completion asks the server for.
const (
	completeTime     = 300 * time.Millisecond // at a shell's prompt, which waits for it
	completeKeys     = 200
	completeVersions = 10
)

// candidate is a word that the one being typed may become, and a description of it.
type candidate struct {
	word string // any bytes
	says string
	// lead is how much of word stands before what may have to be quoted: all of an option, the "--file=" of its value.
	lead int
	open bool // the word may go on: a folder
}

// fixed is a candidate that is never quoted.
func fixed(word, says string) candidate { return candidate{word: word, says: says, lead: len(word)} }

// completion is a command line that is to be completed.
type completion struct {
	words    []words.Word // before the one under the cursor
	last     string       // the one under the cursor, unquoted
	quoted   bool         // last was begun in quotes, so it is no option
	mode     mode
	offered  func(*command) bool                 // nil: all commands are
	keys     func(prefix string) []string        // keys that are stored
	versions func(key string, n int) []candidate // versions of a key, newest first
	addrs    func() []string                     // addresses of servers that are known
	contexts func() []string                     // names of contexts
}

// candidates returns what the last word may become, and whether it may also be the name of a file.
func (c *completion) candidates() (all []candidate, files bool) {
	cmd, rest, value := c.command()
	if value != nil {
		return c.values(value, "", c.last, nil), isFile(value.Value.Type())
	}
	option := strings.HasPrefix(c.last, "-") && !c.quoted
	if cmd == nil {
		if len(rest) > 0 {
			return nil, false
		}
		if option && c.mode == oneShot {
			return c.option(globalFlags(), nil)
		}
		for _, cmd := range commands() {
			if cmd.usable(c.mode) && strings.HasPrefix(cmd.name, strings.ToLower(c.last)) &&
				(c.offered == nil || c.offered(cmd)) {
				all = append(all, fixed(cmd.name, cmd.short))
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
	var args []string
	literal := false
	for i := 0; i < len(rest); i++ {
		w := rest[i]
		switch {
		case literal || w.Quoted || !strings.HasPrefix(w.Text, "-") || w.Text == "-":
			args = append(args, w.Text)
		case w.Text == "--":
			literal = true
		default:
			if g := valueFlag(f, w.Text); g != nil {
				if i++; i == len(rest) {
					return c.values(g, "", c.last, args), isFile(g.Value.Type())
				}
			}
		}
	}
	if option && !literal {
		return c.option(f, args)
	}
	return c.argument(cmd, args, literal || c.quoted)
}

// argument completes the argument that follows args.
func (c *completion) argument(cmd *command, args []string, literal bool) (all []candidate, files bool) {
	position := len(args)
	if position == 0 {
		for _, choice := range cmd.choices() {
			if strings.HasPrefix(choice, c.last) {
				all = append(all, fixed(choice, ""))
			}
		}
	}
	switch {
	case cmd.keyAt(position):
		for _, key := range c.keys(c.last) {
			if c.mode == oneShot && !literal && strings.HasPrefix(key, "-") {
				continue // no quotes would tell it from an option
			}
			all = append(all, candidate{word: key})
		}
	case cmd.name == "rollback" && position == 1:
		for _, v := range c.version(args, completeVersions) {
			if strings.HasPrefix(v.word, c.last) {
				all = append(all, v)
			}
		}
	case cmd.name == "connect" && position == 0:
		all = append(all, c.addresses("", c.last)...)
	case cmd.name == "context" && position == 1 && slices.Contains([]string{"show", "use", "rm"}, args[0]):
		all = append(all, named(c.contexts, "", c.last)...)
	}
	files = position == 0 && (strings.Contains(cmd.args, "FILE") || strings.Contains(cmd.args, "FOLDER"))
	return all, files
}

// option completes the name of an option, or in --name=value its value.
func (c *completion) option(f flags, args []string) (all []candidate, files bool) {
	if name, value, ok := strings.Cut(c.last, "="); ok {
		if g := valueFlag(f, name); g != nil {
			return c.values(g, name+"=", value, args), isFile(g.Value.Type())
		}
		return nil, false
	}
	f.VisitAll(func(g *pflag.Flag) {
		if name := "--" + g.Name; strings.HasPrefix(name, c.last) {
			all = append(all, fixed(name, g.Usage))
		}
	})
	return all, false
}

// values are what an option may be set to. Where it is written as --name=value, lead is all up to the equals sign.
func (c *completion) values(g *pflag.Flag, lead, prefix string, args []string) (all []candidate) {
	switch {
	case strings.Contains(g.Value.Type(), "|"):
		for choice := range strings.SplitSeq(g.Value.Type(), "|") {
			if strings.HasPrefix(choice, prefix) {
				all = append(all, fixed(lead+choice, ""))
			}
		}
	case g.Name == "addr":
		return c.addresses(lead, prefix)
	case g.Name == "context":
		return named(c.contexts, lead, prefix)
	case g.Name == "version" || g.Name == "if-version":
		n := completeVersions
		if g.Name == "if-version" {
			n = 1 // only the newest can be right
		}
		for _, v := range c.version(args, n) {
			if strings.HasPrefix(v.word, prefix) {
				all = append(all, fixed(lead+v.word, v.says))
			}
		}
	}
	return all
}

// addresses returns what an address may become: that of a server that is known, or of a Unix socket.
func (c *completion) addresses(lead, prefix string) []candidate {
	if path, ok := strings.CutPrefix(prefix, unixPrefix); ok {
		return fileNames(lead+unixPrefix, path)
	}
	return named(c.addrs, lead, prefix)
}

// version returns versions of the key that is the first argument.
func (c *completion) version(args []string, n int) []candidate {
	if len(args) == 0 || c.versions == nil {
		return nil
	}
	return c.versions(args[0], n)
}

// named returns those of names that begin with prefix.
func named(names func() []string, lead, prefix string) (all []candidate) {
	if names == nil {
		return nil
	}
	for _, name := range names() {
		if strings.HasPrefix(name, prefix) {
			all = append(all, candidate{word: lead + name, lead: len(lead)})
		}
	}
	return all
}

// command finds the command among the words; rest is what follows it. value: the last word is that of a global option.
func (c *completion) command() (cmd *command, rest []words.Word, value *pflag.Flag) {
	global := globalFlags()
	for i := 0; i < len(c.words); i++ {
		w := c.words[i].Text
		if c.mode == oneShot && strings.HasPrefix(w, "-") {
			if g := valueFlag(global, w); g != nil {
				if i++; i == len(c.words) {
					return nil, nil, g
				}
			}
			continue
		}
		if cmd := findCommand(w); cmd != nil && cmd.usable(c.mode) {
			return cmd, c.words[i+1:], nil
		}
		return nil, c.words[i:], nil
	}
	return nil, nil, nil
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
	case "cluster":
		return []string{"status", "wait", "add", "remove", "transfer"}
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

// coverage says how much of what there is was found.
type coverage uint8

const (
	foundAll  coverage = iota
	foundMany          // there are more than completion lists
	foundSlow          // the time was over before all was looked at
)

// storedKeys returns keys that begin with prefix, in order: all there are, or some.
func storedKeys(ctx context.Context, c *client.Client, prefix string) (keys []string, found coverage) {
	q := protocol.Scan{Prefix: []byte(prefix)}
	for {
		q.Limit = uint32(completeKeys + 1 - len(keys))
		page, err := c.Scan(ctx, q)
		if err != nil {
			found = foundSlow
			break
		}
		for _, it := range page.Items {
			keys = append(keys, string(it.Key))
		}
		if len(keys) > completeKeys {
			keys, found = keys[:completeKeys], foundMany
			break
		}
		if q.Cursor = page.Cursor; len(q.Cursor) == 0 {
			break
		}
	}
	slices.Sort(keys)
	return keys, found
}

// keptVersions returns the n newest versions of a key.
func keptVersions(ctx context.Context, c *client.Client, key string, n int) (all []candidate) {
	revisions, err := c.History(ctx, []byte(key), uint32(n))
	if err != nil {
		return nil
	}
	for _, r := range revisions {
		all = append(all, fixed(decimal(r.Version), revisionTime(r)))
	}
	return all
}

// fileNames returns the files that a name may become. Folders end with a slash, and go on.
func fileNames(lead, prefix string) (all []candidate) {
	dir, base := filepath.Split(prefix)
	entries, err := os.ReadDir(filepath.Clean(dir + "."))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, base) || base == "" && name[0] == '.' {
			continue
		}
		c := candidate{word: lead + dir + name, lead: len(lead)}
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			c.word, c.open = c.word+"/", true
		}
		all = append(all, c)
	}
	return all
}

// knownAddresses are those of servers that were spoken to or have a name, as far as anything here tells.
func (s *session) knownAddresses(ctx context.Context) []string {
	all := []string{s.opts.addr.String(), defaultAddr}
	history, _ := os.ReadFile(s.historyFile()) // where it can't be read, it knows no more
	for line := range strings.Lines(string(history)) {
		ws, err := words.Split(line)
		if err != nil || len(ws) != 2 || !strings.EqualFold(ws[0].Text, "connect") {
			continue
		}
		if addr, err := parseAddr(ws[1].Text); err == nil {
			all = append(all, addr.String())
		}
	}
	for _, settings := range s.knownContexts(ctx).all {
		all = append(all, settings["addr"])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// knownContexts are those of a file that can be read, in time.
func (s *session) knownContexts(ctx context.Context) *contexts {
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	known, err := readContexts(ctx, s.contextsFile())
	if err != nil {
		return &contexts{}
	}
	return known
}
