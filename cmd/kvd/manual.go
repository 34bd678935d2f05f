package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kv/repl/files"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man FOLDER",
		Short:   "Write the man pages into a folder",
		Long:    "man writes the man pages of kvd and of its commands into a folder, which is made where it is missing.",
		Example: `  kvd man ~/.local/share/man/man1`,
		Args:    places(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return failed(exitFiles, err)
			}
			pages := []*cobra.Command{cmd.Root()}
			for _, c := range cmd.Root().Commands() {
				if c.IsAvailableCommand() && c.Name() != "help" {
					pages = append(append(pages, c), c.Commands()...)
				}
			}
			for _, c := range pages {
				name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".1"
				page := func(w io.Writer) error {
					_, err := w.Write(manPage(c))
					return err
				}
				if err := files.Write(cmd.Context(), filepath.Join(args[0], name), 0o644, page); err != nil {
					return failed(exitFiles, err)
				}
			}
			return nil
		},
	}
}

// manPage is the man page of kvd or of one of its commands.
func manPage(c *cobra.Command) []byte {
	var b bytes.Buffer
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	fmt.Fprintf(&b, ".TH %s 1\n.SH NAME\n%s \\- %s\n", strings.ToUpper(roff(name)), roff(name), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(strings.TrimSuffix(c.UseLine(), " [flags]")))
	if c.HasAvailableLocalFlags() {
		b.WriteString("[options]\n")
	}
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", strings.ReplaceAll(roff(c.Long), "\n\n", "\n.PP\n"))
	if c.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.B %s %s\n%s\n", roff(c.CommandPath()), roff(sub.Use), roff(sub.Short))
			}
		}
	}
	b.WriteString(".SH OPTIONS\n")
	c.LocalFlags().VisitAll(func(f *pflag.Flag) { manOption(&b, f, c == c.Root()) })
	b.WriteString(".SH EXIT STATUS\n")
	for code, means := range exitMeanings {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", code, roff(means))
	}
	fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n.SH SEE ALSO\n.BR kvd (1),\n.BR kvc (1)\n", roff(c.Example))
	return b.Bytes()
}

func manOption(b *bytes.Buffer, f *pflag.Flag, variables bool) {
	kind, usage := pflag.UnquoteUsage(f)
	fmt.Fprintf(b, ".TP\n.B \\-\\-%s\n", roff(strings.TrimSpace(f.Name+" "+kind)))
	b.WriteString(roff(usage))
	// That of --max-memory is the machine's.
	if kind != "" && f.DefValue != "" && f.DefValue != "0" && f.Name != "max-memory" {
		fmt.Fprintf(b, "; by default %s", roff(f.DefValue))
	}
	if variables && f.Name != "help" && f.Name != "version" {
		fmt.Fprintf(b, "; as a variable, %s", variable(f.Name))
	}
	b.WriteString("\n")
}

// roff makes text safe for a man page.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "\n.", "\n\\&.").Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
