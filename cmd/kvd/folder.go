package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"kv/repl/files"
	"kv/store/cluster"
	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/tool"
)

// dataCommands are the commands that work on a data folder which no server uses.
func dataCommands() []*cobra.Command {
	return []*cobra.Command{checkCommand(), repairCommand(), restoreCommand()}
}

// places asks for n arguments that name something: an empty one is what a variable gives that was never set, and would
// stand for the current folder.
func places(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%d arguments were given; it is %s", len(args), strings.TrimSuffix(cmd.UseLine(), " [flags]"))
		}
		for i, arg := range args {
			if arg == "" {
				return fmt.Errorf("argument %d of %s is empty", i+1, strings.TrimSuffix(cmd.UseLine(), " [flags]"))
			}
		}
		return nil
	}
}

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check DIR",
		Short: "Read all of a data folder, verify it, and say what it holds",
		Long: `check reads every record and every block of the data folder DIR, verifies the checksums and says what it found. It
changes nothing. No server may be using the folder. Of a node of a cluster it says what kvd cluster show says. The exit code is 1 if the folder is damaged, 4 if a server
uses it, and 5 if it can't be read.`,
		Example: `  kvd check /var/lib/kv`,
		Args:    places(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch replica, err := folder.IsReplica(vfs.OS, args[0]); {
			case err != nil:
				return dataFailed(err)
			case replica:
				s, err := cluster.Look(vfs.OS, args[0])
				if err != nil {
					return dataFailed(err)
				}
				return writeStanding(cmd.OutOrStdout(), s)
			}
			report, err := tool.Check(vfs.OS, args[0])
			if err != nil {
				return dataFailed(err)
			}
			if _, err := report.WriteTo(cmd.OutOrStdout()); err != nil {
				return err
			}
			if report.Damaged() {
				return failed(exitDamaged, fmt.Errorf("%s is damaged; `kvd repair %s` saves what can be saved", args[0], args[0]))
			}
			return nil
		},
	}
}

func repairCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "repair DIR",
		Short: "Make a damaged data folder one that kvd starts from",
		Long: `repair does what check does, and rewrites the files that are damaged without what can't be read. What such a file was
before is kept beside it, as NAME.damaged-1. Writes in the damaged stretches are lost; all others are kept, each whole. No
server may be using the folder.`,
		Example: `  kvd repair /var/lib/kv`,
		Args:    places(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := tool.Repair(vfs.OS, args[0])
			if err != nil {
				return dataFailed(err)
			}
			if _, err := report.WriteTo(cmd.OutOrStdout()); err != nil {
				return err
			}
			if report.Damaged() {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "repaired: kvd --data %s starts again\n", args[0])
			}
			return err
		},
	}
}

func restoreCommand() *cobra.Command {
	var newCluster bool
	cmd := &cobra.Command{
		Use:   "restore FILE DIR",
		Short: "Make a data folder of a backup",
		Long: `restore reads and verifies all of FILE, which kvc backup has made, and makes the data folder DIR of it, which must be empty
or missing. FILE may be a pipe; - is stdin. Where the backup is not whole, DIR is left as it was.

Without --new-cluster the folder is for a server that is alone. With it, it is that of the first node of a new cluster: start it
with --peers, and the other nodes, with the same --peers and empty folders, join it. A backup of either kind of server becomes
either kind of folder.`,
		Example: `  kvc backup kv.backup
  kvd restore kv.backup /var/lib/kv
  zcat kv.backup.gz | kvd restore - /var/lib/kv
  kvd --data /var/lib/kv
  kvd restore --new-cluster kv.backup /var/lib/kv`,
		Args: places(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, name := cmd.InOrStdin(), "stdin"
			switch {
			case args[0] == "-" && files.Closed(os.Stdin):
				return failed(exitFiles, errors.New("restore -: stdin is closed"))
			case args[0] != "-":
				f, err := files.Open(cmd.Context(), args[0]) // a FIFO without a writer can be given up
				if err != nil {
					return failed(exitFiles, err)
				}
				defer f.Close()
				from, name = f, args[0]
			}
			var report tool.Report
			var self cluster.Self
			var err error
			if newCluster {
				report, self, err = cluster.Restore(vfs.OS, from, args[1])
			} else {
				report, err = tool.RestoreFrom(vfs.OS, from, args[1])
			}
			if err != nil {
				return dataFailed(fmt.Errorf("restore %s: %w", name, err))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "restored %d entries up to version %d to %s\n",
				report.Entries(), report.Version, args[1])
			if err == nil && newCluster {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), `it is node %d of the new cluster %d, its only member
start it with --peers, and the other nodes with the same --peers and empty folders: they join
`, self.Node, self.Cluster)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&newCluster, "new-cluster", false, "make the folder of the first node of a new cluster")
	return cmd
}
