package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// completionCommand is cobra's, but that a shell which is missing or not known is wrong usage, and not a reason to show help.
func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the script that makes a shell complete kvd's commands and options",
		Long: `completion prints a script that makes a shell complete kvd's commands and options. That for bash needs the package
bash-completion.`,
		Example: `  kvd completion bash >~/.local/share/bash-completion/completions/kvd
  kvd completion zsh >~/.zsh/completions/_kvd
  kvd completion fish >~/.config/fish/completions/kvd.fish`,
		Args:      places(1),
		ValidArgs: []cobra.Completion{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			write := map[string]func(io.Writer) error{
				"bash": func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
				"zsh":  root.GenZshCompletion,
				"fish": func(w io.Writer) error { return root.GenFishCompletion(w, true) },
			}[args[0]]
			if write == nil {
				return fmt.Errorf("completion for %q: there is that for bash, zsh and fish", args[0])
			}
			return write(out)
		},
	}
}
