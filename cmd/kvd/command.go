package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"kv/cmd/internal/version"
)

// command is kvd's command line. What the server has to say while it runs goes to messages.
func command(messages *lineQueue) *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "kvd",
		Short: "The kv server",
		Long: `kvd serves a key-value store. Without flags it keeps everything in memory and listens on 127.0.0.1:7070.

Every flag is also an environment variable: --max-memory is KVD_MAX_MEMORY. The flag wins.`,
		Example: `  kvd
  kvd --data /var/lib/kv --sync always --max-memory 4GiB
  kvd --listen :7070 --tls-cert kv.crt --tls-key kv.key --auth-file users
  kvd --data /var/lib/kv --sync always --peer-listen 127.0.0.1:7071 --peers 127.0.0.1:7071,127.0.0.1:7171,127.0.0.1:7271`,
		Version: version.String(),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		SilenceErrors:              true,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			warnings, err := fromEnvironment(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			o.warnings = append(o.warnings, warnings...)
			if cmd.Flags().Changed("sync") && o.data == "" {
				o.warnings = append(o.warnings, fmt.Sprintf("--sync %s has no effect without --data: all is in memory only", o.sync))
			}
			return o.check()
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), o, messages, newLogger(messages, os.Stderr))
		},
	}
	root.SetVersionTemplate("kvd {{.Version}}\n")
	o.define(root.Flags())
	complete(root, "sync", "always", "interval", "never")
	root.MarkFlagDirname("data")
	root.AddCommand(tokenCommand(), healthCommand(), manCommand(), completionCommand(), clusterCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(dataCommands()...)
	root.SetHelpCommand(helpCommand())
	return root
}

// complete has shells complete an option's values.
func complete(cmd *cobra.Command, option string, values ...cobra.Completion) {
	if err := cmd.RegisterFlagCompletionFunc(option, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such option
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	near := ""
	if names := root.SuggestionsFor(name); len(names) > 0 {
		near = "; there is " + strings.Join(names, ", ")
	}
	return fmt.Errorf("unknown command %q%s", name, near)
}

// helpCommand is cobra's, but that a command which is not there is wrong usage, and not a reason to show the help of another.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = unknownCommand(cmd.Root(), rest[0])
			}
			if err != nil {
				return err
			}
			of.InitDefaultHelpFlag()
			of.InitDefaultVersionFlag()
			return of.Help()
		},
	}
}
