package repl

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// topic is a page of help that is about no single command.
type topic struct {
	name, title string
	text        string // Markdown: paragraphs, and lines that are indented by four spaces and stay as they are
}

func topics() []topic {
	return []topic{
		{"exit-codes", "Exit codes", `
    0   done
    1   get, meta, history, rollback, expire or persist found nothing, or not that version; cluster something wrong, or no such server
    2   wrong usage or input, or a local file that can't be read or made
    3   a condition did not hold, and nothing was changed
    4   the server refused; its message is on stderr, and where it begins with bad request it would be refused again
    5   no connection, a broken one, a timeout, or stdout can't be written

Errors go to stderr, never to stdout. A write whose answer was lost is reported as *unknown*: it may have been applied or not. It is never sent again by itself; read what is stored before you do. A standard stream that is closed can't be read or written; to throw output away, send it to /dev/null. A reader that goes away, as head does, is exit code 5 too, without a message.

After Ctrl-C kvc says what came of the command and ends by the signal, so that a script around it ends too.`},
		{"escaping", "How bytes are written", `
Keys and values are bytes. ` + "`get`" + ` writes them to a pipe or a file exactly. Lists use the text form: one line a key, the columns separated by TAB, and in them

    \t \n \r \\   TAB, newline, carriage return, backslash
    \xHH          the byte with these two hexadecimal digits
    \N            as a whole value: there is none

Valid, printable UTF-8 stays as it is; all else is \xHH. So any bytes come through: what ` + "`mget`, `scan --values` and `export`" + ` print, ` + "`mset -` and `import`" + ` read. A third column is the expiry in Unix milliseconds. Lists of keys on stdin (` + "`mget -`, `del -`" + `) are in the text form too. Whatever is read as text, be it records, keys, JSON or commands, is UTF-8 without a byte order mark: one that begins with a mark, or is UTF-16, is refused. (In the text form a byte that is not UTF-8 stands for itself.) ` + "`-0`" + ` makes lines end with NUL; nothing else changes.

With ` + "`--json`" + ` a key or value that is UTF-8 is a string, any other is {"base64": "…"}.

In the shell, words may be quoted: "…" with \n \r \t \" \\ \xHH, or '…' in which nothing is special. What the shell shows can be pasted back. On a terminal a value that is not printable is shown like that by kvc too, unless ` + "`--raw`" + ` is given.

After ` + "`--`" + ` a word is a key or a value, whatever it begins with. A word before it that begins with a dash is an option. An empty value is a value.

Sizes are 500, 64KiB, 128MiB, 2GB, 1.5GiB; without the B they mean the same: 4G is 4GB, a power of 1000, and 4Gi is 4GiB, of 1024. Durations are 300ms, 30s, 1h30m, and in days and weeks 7d, 2w, 1d12h.`},
		{"options", "Global options", `
They stand before or after the command. Each is an environment variable too: ` + "`--addr`" + ` is KV_ADDR, and so on; any other variable that begins with KV_ is warned of. The secret itself can be in KV_SECRET, and is never an argument. NO_COLOR is obeyed.

An address is HOST:PORT, HOST with port 7070, :PORT of this machine, or a URL, in which the user may stand: kv://ann@db1.example, or kvs://ann@db1.example:7443 for TLS. A Unix socket is unix: and its path. Of a cluster name several servers, separated by commas: kvc takes the first that answers, and goes to the one that leads. Servers get names with ` + "`kvc context`" + `.
`},
		{"shell", "The shell", `
kvc without a command is a shell on a terminal. With stdin a pipe or a file it runs the commands in there, one a line, each printing what kvc would print for it, and stops at the first error; ` + "`kvc --keep-going`" + ` goes on. Blank lines and lines that begin with # are skipped. A get that finds nothing prints (nil) on stderr there, and is no error. An open quote or transaction at the end is exit code 2, and nothing of it is applied.

    kv> set greeting "hello,\nworld"
    OK
    kv> begin
    OK
    kv*> get greeting
    "hello,\nworld"
    kv*> set greeting 'good bye'
    OK
    kv*> commit
    OK

Tab completes commands, options, stored keys, versions, files and addresses, and puts in quotes what needs them; of many it shows the first and says how many there are. In grey, behind the line, stands how the last line that began like this went on (Right takes it), or which arguments are to come; not with NO_COLOR. With TERM=dumb lines are read plainly. Ctrl-R searches the history, Ctrl-Left and Ctrl-Right go by words, Ctrl-C clears the line or cancels the running command, Ctrl-Z suspends, Ctrl-D on an empty line leaves. An open quote goes on in the next line.

A transaction ends with ` + "`commit`, which applies all of it or says which key changed, or with `abort`" + `. An error inside fails it: the prompt is kv!>, and everything but abort and commit, which then applies nothing, is refused.

A | that is a word by itself begins a command of the system's shell, which reads what kvc writes into a pipe: get user:1 | jq .name. In quotes, or inside a word, a | is a character like any other. If PAGER names a pager, answers that are longer than the screen go through it.

Beyond this machine the prompt says where the shell is, and as whom: kv ann@10.0.0.7:7070>; in a cluster, also whether that server leads: kv 10.0.0.7:7070 follower>. The command login asks for a secret, which is shown nowhere and kept in no file.

The history is in $XDG_STATE_HOME/kv/history, or ~/.local/state/kv/history, readable by its owner alone. Lines that begin with a space, or that speak of a password, secret, token or credential, are not written to it.`},
	}
}

func topicNames() string {
	var names []string
	for _, t := range topics() {
		names = append(names, t.name)
	}
	return strings.Join(names, ", ")
}

// prefix is what a command is typed after.
func (s *session) prefix() string {
	if s.mode == oneShot {
		return "kvc "
	}
	return ""
}

func (c *call) help() error {
	if len(c.args) == 0 {
		return c.printOverview()
	}
	name := string(c.key(0))
	if cmd := findCommand(name); cmd != nil {
		return c.printHelp(cmd)
	}
	for _, t := range topics() {
		if t.name == name {
			fmt.Fprintf(c.out, "%s\n\n%s", t.title, c.wrapped(t.text))
			if name == "options" {
				fmt.Fprintf(c.out, "\n%s", c.optionTable(globalFlags()))
			}
			return nil
		}
	}
	return usagef("no help on %s: there is help on the commands, and on %s", shown([]byte(name)), topicNames())
}

// printOverview lists the commands, examples first.
func (s *session) printOverview() error {
	p := s.prefix()
	fmt.Fprintf(s.out, "%sset greeting 'hello, world'\n%sget greeting\n%smget greeting farewell\n", p, p, p)
	if s.mode == oneShot {
		fmt.Fprintf(s.out, "kvc                              the shell\n\nkvc [OPTIONS] COMMAND …\n")
	}
	for _, g := range groups() {
		title := "\n" + g.title + "\n"
		for _, cmd := range g.commands {
			if !cmd.usable(s.mode) {
				continue
			}
			s.out.WriteString(title + hanging(fmt.Sprintf("  %-12s ", cmd.name), cmd.short, s.tableWidth()))
			title = ""
		}
	}
	if s.mode == oneShot {
		fmt.Fprintf(s.out, "\nGlobal options\n%s", s.optionTable(globalFlags()))
	}
	fmt.Fprintf(s.out, "\n%s", hanging("", fmt.Sprintf("%shelp COMMAND tells more; so does %shelp on %s.",
		p, p, topicNames()), s.tableWidth()))
	return nil
}

// printHelp explains a command, examples first.
func (s *session) printHelp(cmd *command) error {
	p := s.prefix()
	if cmd.where == shellOnly {
		p = ""
	}
	for _, e := range cmd.examples {
		line := e.line
		if s.mode != oneShot {
			if line = strings.ReplaceAll(line, "$version", "1732480000000000"); strings.ContainsAny(line, "|<>$") {
				continue // it needs another shell than this one
			}
		}
		fmt.Fprintf(s.out, "  %s%s\n%s", p, line, hanging("      ", e.says, s.tableWidth()))
	}
	fmt.Fprintf(s.out, "\n%s\n%s", hanging("usage: ", p+cmd.usage(), s.tableWidth()), s.wrapped(cmd.short+"\n\n"+cmd.long))
	if options := s.optionTable(cmd.flags()); options != "" {
		fmt.Fprintf(s.out, "\nOptions\n%s", options)
	}
	return s.output(nil)
}

// flags returns the options of a command.
func (c *command) flags() flags {
	f := newFlags()
	c.build(f)
	return f
}

// globalFlags returns the options that every command has.
func globalFlags() flags {
	f := newFlags()
	o := defaultOptions()
	o.bind(f)
	return f
}

// optionTable has a line for each option.
func (s *session) optionTable(f flags) string {
	var b strings.Builder
	f.VisitAll(func(g *pflag.Flag) {
		b.WriteString(hanging(fmt.Sprintf("  %-22s ", optionUsage(g)), g.Usage+optionDefault(g), s.tableWidth()))
	})
	return b.String()
}

// optionUsage is an option as it is typed.
func optionUsage(g *pflag.Flag) string {
	u := "--" + g.Name
	if g.Shorthand != "" {
		u = "-" + g.Shorthand + ", " + u
	}
	if g.NoOptDefVal == "" {
		u += " " + g.Value.Type()
	}
	return u
}

func optionDefault(g *pflag.Flag) string {
	switch g.DefValue {
	case "", "0", "0s", "false":
		return ""
	}
	if g.NoOptDefVal != "" {
		return ""
	}
	return " (default " + g.DefValue + ")"
}
