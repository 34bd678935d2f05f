package repl

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"kv/repl/files"
)

// Markdown is docs/cli.md: the whole reference.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# kvc

<!-- Made from the table of commands in repl: go test ./repl -run Reference -update -->

` + "`kvc [options] COMMAND …`" + ` connects, does one thing and exits; it is made for pipes. ` + "`kvc`" + ` without a command is [the shell](#the-shell).
Recipes that put it together are in [cookbook.md](cookbook.md).

| command | |
|---|---|
`)
	for _, g := range groups() {
		for _, c := range g.commands {
			fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", strings.ReplaceAll(c.usage(), "|", `\|`), c.name, c.short)
		}
	}
	for _, g := range groups() {
		fmt.Fprintf(&b, "\n## %s\n", g.title)
		for _, c := range g.commands {
			c.markdown(&b)
		}
	}
	for _, t := range topics() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", t.title, strings.Trim(t.text, "\n"))
		if t.name == "options" {
			b.WriteString("\n")
			optionMarkdown(&b, globalFlags(), true)
		}
	}
	return b.String()
}

func (c *command) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %s\n\n", c.name)
	prefix := "kvc "
	if c.where == shellOnly {
		prefix = ""
		b.WriteString("In the shell: ")
	}
	fmt.Fprintf(b, "`%s%s`\n\n", prefix, c.usage())
	b.WriteString("```sh\n")
	for _, e := range c.examples {
		fmt.Fprintf(b, "%-48s # %s\n", prefix+e.line, e.says)
	}
	fmt.Fprintf(b, "```\n\n%s", c.short)
	if c.long != "" {
		b.WriteString(" " + c.long)
	}
	b.WriteString("\n")
	if f := c.flags(); f.HasFlags() {
		b.WriteString("\n")
		optionMarkdown(b, f, false)
	}
}

func optionMarkdown(b *strings.Builder, f flags, env bool) {
	b.WriteString("| option | |\n|---|---|\n")
	f.VisitAll(func(g *pflag.Flag) {
		name := "`" + strings.ReplaceAll(optionUsage(g), "|", `\|`) + "`" // in a table
		if env {
			name += ", `" + envName(g.Name) + "`"
		}
		fmt.Fprintf(b, "| %s | %s |\n", name, g.Usage+optionDefault(g))
	})
}

// man writes the man pages into a folder.
func (c *call) man() error {
	dir := string(c.key(0))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fileError{err}
	}
	pages := map[string][]byte{"kvc.1": manOverview()}
	for _, cmd := range commands() {
		if cmd.where != shellOnly {
			pages["kvc-"+cmd.name+".1"] = cmd.manPage()
		}
	}
	for name, page := range pages {
		write := func(w io.Writer) error {
			_, err := w.Write(page)
			return err
		}
		if err := files.Write(c.ctx, filepath.Join(dir, name), 0o644, write); err != nil {
			return err
		}
	}
	return nil
}

func manOverview() []byte {
	var b bytes.Buffer
	b.WriteString(".TH KVC 1\n.SH NAME\nkvc \\- the client of a kv server\n.SH SYNOPSIS\n.B kvc\n[options] COMMAND \\[u2026]\n.SH COMMANDS\n")
	for _, g := range groups() {
		fmt.Fprintf(&b, ".SS %s\n", g.title)
		for _, c := range g.commands {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(c.usage()), roff(c.short))
		}
	}
	b.WriteString(".SH OPTIONS\n")
	roffOptions(&b, globalFlags())
	for _, t := range topics() {
		fmt.Fprintf(&b, ".SH %s\n", strings.ToUpper(t.title))
		roffText(&b, t.text)
	}
	return b.Bytes()
}

func (c *command) manPage() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".TH KVC-%s 1\n.SH NAME\nkvc-%s \\- %s\n", strings.ToUpper(c.name), c.name, roff(c.short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B kvc %s\n.SH EXAMPLES\n", roff(c.usage()))
	for _, e := range c.examples {
		fmt.Fprintf(&b, ".TP\n.B kvc %s\n%s\n", roff(e.line), roff(e.says))
	}
	b.WriteString(".SH DESCRIPTION\n")
	roffText(&b, c.short+"\n\n"+c.long)
	if f := c.flags(); f.HasFlags() {
		b.WriteString(".SH OPTIONS\n")
		roffOptions(&b, f)
	}
	b.WriteString(".SH SEE ALSO\n.BR kvc (1)\n")
	return b.Bytes()
}

func roffOptions(b *bytes.Buffer, f flags) {
	f.VisitAll(func(g *pflag.Flag) {
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(optionUsage(g)), roff(g.Usage+optionDefault(g)))
	})
}

// roffText writes the Markdown that topics and commands use.
func roffText(b *bytes.Buffer, markdown string) {
	verbatim := false
	for _, line := range strings.Split(strings.Trim(markdown, "\n"), "\n") {
		if indented := strings.HasPrefix(line, "    "); indented != verbatim && line != "" {
			verbatim = indented
			if verbatim {
				b.WriteString(".nf\n")
			} else {
				b.WriteString(".fi\n")
			}
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(strings.ReplaceAll(line, "`", "")) + "\n")
	}
	if verbatim {
		b.WriteString(".fi\n")
	}
}

// roff makes one line of text safe for a man page.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "").Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
