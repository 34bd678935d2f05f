package main

import (
	"fmt"
	"os"

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
  kvd --listen :7070 --tls-cert kv.crt --tls-key kv.key --auth-file users`,
		Version:       version.String(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
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
	root.AddCommand(tokenCommand(), manCommand())
	root.AddCommand(dataCommands()...)
	return root
}
