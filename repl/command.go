package repl

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"kv/repl/words"
)

// command is one row of the table that kvc, the shell, completion, help, the man pages and docs/cli.md all come from.
type command struct {
	name     string
	args     string // as usage shows them
	min, max int    // how many arguments; max < 0: any number
	short    string // what it does, in one line
	long     string // the rest there is to know, in Markdown without headings; may be empty
	examples []example
	where    place
	keys     keyArgs
	inTxn    bool // allowed between begin and commit
	// outsideTxn: what goes wrong in it is no fault of the transaction around it.
	outsideTxn bool
	// build declares the command's options and returns what runs it.
	build func(f flags) func(*call) error
}

// example is a line that can be typed, and what the line does.
type example struct{ line, says string }

// place says where a command exists.
type place uint8

const (
	everywhere place = iota
	kvcOnly          // not in the shell
	shellOnly        // not as an argument of kvc
)

// keyArgs says which arguments of a command are keys that exist, for completion.
type keyArgs uint8

const (
	noKeys keyArgs = iota
	firstKey
	allKeys
	evenKeys // KEY VALUE KEY VALUE …
)

// commands is the table, in the order of help.
func commands() []*command {
	var all []*command
	for _, group := range groups() {
		all = append(all, group.commands...)
	}
	return all
}

// groups is the table with the headings of help.
func groups() []group {
	return []group{
		{"Read", readCommands()},
		{"Write", writeCommands()},
		{"Transactions", transactionCommands()},
		{"Move data", moveCommands()},
		{"Server", serverCommands()},
		{"The tool", toolCommands()},
	}
}

type group struct {
	title    string
	commands []*command
}

// findCommand returns the command with this name, in whatever case; nil: there is none.
func findCommand(name string) *command {
	for _, c := range commands() {
		if strings.EqualFold(c.name, name) {
			return c
		}
	}
	return nil
}

// usable reports whether the command exists in this mode.
func (c *command) usable(m mode) bool {
	if m == oneShot {
		return c.where != shellOnly
	}
	return c.where == everywhere || c.where == shellOnly
}

// operation reports whether the command reads or writes keys in a transaction.
func (c *command) operation() bool { return c.inTxn && c.keys != noKeys }

// usage is the command as it is typed.
func (c *command) usage() string {
	if c.args == "" {
		return c.name
	}
	return c.name + " " + c.args
}

// arg is one argument of a command.
type arg struct {
	b       []byte
	literal bool // it was quoted, or came after --
}

// stdin reports whether the argument stands for stdin.
func (a arg) stdin() bool { return !a.literal && string(a.b) == "-" }

// call is one run of a command.
type call struct {
	*session
	ctx  context.Context
	args []arg
}

// key is the argument i.
func (c *call) key(i int) []byte { return c.args[i].b }

// Options are found by pflag, which knows no quotes. So a quoted word goes through it with a mark in front: it does not
// begin with a dash then. A word that begins with the mark gets another.
const quotedMark = "\x00"

func marked(w words.Word) string {
	if w.Quoted || strings.HasPrefix(w.Text, quotedMark) {
		return quotedMark + w.Text
	}
	return w.Text
}

// bare takes the mark off.
func bare(s string) string { return strings.TrimPrefix(s, quotedMark) }

// run runs the command line that ws are, which is not empty.
func (s *session) run(ctx context.Context, ws []words.Word) error {
	cmd := findCommand(ws[0].Text)
	return s.guarded(cmd, func() error { return s.runCommand(ctx, cmd, ws) })
}

func (s *session) runCommand(ctx context.Context, cmd *command, ws []words.Word) error {
	if cmd == nil || !cmd.usable(s.mode) {
		return s.unknownCommand(ws[0].Text, cmd)
	}
	if s.txn != nil && !cmd.inTxn {
		return usagef("%s is not possible inside a transaction", cmd.name)
	}
	saved := s.opts
	f := newFlags()
	run := cmd.build(f)
	if s.mode == oneShot {
		s.opts.bind(f)
	} else {
		s.opts.bindEach(f)
		defer func() { s.opts.json, s.opts.timeout = saved.json, saved.timeout }()
	}
	var marks []string
	for _, w := range ws[1:] {
		marks = append(marks, marked(w))
	}
	if err := f.Parse(marks); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return s.printHelp(cmd)
		}
		return flagError(err)
	}
	s.opts.given(f)
	c := &call{session: s, ctx: ctx}
	dash := f.ArgsLenAtDash()
	for i, a := range f.Args() {
		literal := strings.HasPrefix(a, quotedMark) || dash >= 0 && i >= dash
		c.args = append(c.args, arg{[]byte(bare(a)), literal})
	}
	if n := len(c.args); cmd.max >= 0 && n > cmd.max {
		return cmd.tooMany(c.args)
	} else if n < cmd.min {
		return usagef("usage: %s", cmd.usage())
	}
	return s.output(run(c))
}

// misplaced adds to the error of an option before the command that it stands after one; err is pflag's.
func misplaced(usage, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return usage
	}
	name := unknown.GetSpecifiedName()
	for _, c := range commands() {
		if c.flags().Lookup(name) != nil {
			return usagef("--%s is an option of %s, and stands after the command", name, c.name)
		}
	}
	return usage
}

// flagError words an error of pflag as this tool does.
func flagError(err error) error {
	msg := strings.ReplaceAll(err.Error(), `\x00`, "")
	var value *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &value):
		return usagef("--%s %q is wrong: it takes %v", value.GetFlag().Name, bare(value.GetValue()), errors.Unwrap(value))
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = "-" + unknown.GetSpecifiedShortnames()
		}
		return usagef("unknown option %s (a key or value that begins with a dash comes after --)", name)
	case errors.As(err, &missing):
		return usagef("--%s needs a value", missing.GetFlag().Name)
	}
	return usagef("%s", msg)
}
