package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kv/protocol/printable"
	"kv/store/cluster"
	"kv/store/vfs"
)

func clusterCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Look at the folders of a cluster's nodes, and begin anew with one when a majority is lost",
		Long: `The commands below work on folders of nodes that do not run. While a majority of the nodes runs, kvc cluster is what shows and changes
the cluster.`,
		Example: `  kvd cluster show /var/lib/kv
  kvd cluster recover /var/lib/kv`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return errors.New("kvd cluster needs a command: show or recover")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(clusterShowCommand(), clusterRecoverCommand())
	return cmd
}

// standing is what is printed of a node's folder. Its names are those of kvc cluster status, where there are such.
type standing struct {
	Dir       string           `json:"dir"`
	Cluster   uint64           `json:"cluster"`
	Node      uint64           `json:"node"`
	Term      uint64           `json:"term"`
	LastTerm  uint64           `json:"last_term"`
	LastIndex uint64           `json:"last_index"`
	Committed uint64           `json:"committed"`
	Version   uint64           `json:"version"`
	Format    uint16           `json:"format"`
	Whole     bool             `json:"whole"`
	TornBytes int64            `json:"torn_bytes"`
	Members   []standingMember `json:"members"`
}

type standingMember struct {
	ID     uint64 `json:"id"`
	Role   string `json:"role"`
	Client string `json:"client"`
	Peer   string `json:"peer"`
}

func standingOf(s *cluster.Standing) standing {
	p := standing{
		Dir: s.Dir, Cluster: s.Cluster, Node: s.Node, Term: s.Term, LastTerm: s.LastTerm, LastIndex: s.LastIndex, Committed: s.Committed,
		Version: s.Version, Format: s.Format, Whole: s.IsWhole(), TornBytes: s.Torn, Members: []standingMember{},
	}
	for _, m := range s.Members {
		role := "learner"
		if m.Voter {
			role = "voter"
		}
		p.Members = append(p.Members, standingMember{m.ID, role, m.Client, m.Peer})
	}
	return p
}

// writeStanding writes what a node's folder has for a person.
func writeStanding(to io.Writer, s *cluster.Standing) error {
	var w strings.Builder
	p := standingOf(s)
	fmt.Fprintf(&w, "%s\n", p.Dir)
	if p.Cluster == 0 {
		fmt.Fprintf(&w, "  node %d, of no cluster yet\n", p.Node)
	} else {
		writeCluster(&w, p, s)
	}
	_, err := io.WriteString(to, w.String()) // at once
	return err
}

// writeCluster writes what the folder of a node has that belongs to a cluster.
func writeCluster(w io.Writer, p standing, s *cluster.Standing) {
	fmt.Fprintf(w, "  node %d of cluster %d\n", p.Node, p.Cluster)
	fmt.Fprintf(w, "  log up to term %d, entry %d; committed, as far as it knows, up to entry %d; newest version %d\n",
		p.LastTerm, p.LastIndex, p.Committed, p.Version)
	if !p.Whole {
		fmt.Fprintf(w, "  no state: it is a copy of another node's that was being brought up to date, up to entry %d\n", s.Whole)
	}
	if p.TornBytes > 0 {
		fmt.Fprintf(w, "  a torn tail of %d bytes, never promised to anyone\n", p.TornBytes)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range p.Members {
		fmt.Fprintf(t, "  member %d\t%s\t%s\t%s\n",
			m.ID, m.Role, cmp.Or(printable.Line(m.Client), "-"), cmp.Or(printable.Line(m.Peer), "-"))
	}
	t.Flush()
}

func clusterShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show DIR...",
		Short: "Show what the folders of nodes have, and which has most",
		Long: `show reads and verifies each folder DIR, and says of which node of which cluster it is, how far its log goes, and who the members
are. Of several it says which has most: the one whose last entry has the highest term, or of those with the same term the
highest number. That is the one to recover where a majority is lost. It changes nothing. No server may be using the folders.`,
		Example: `  kvd cluster show /var/lib/kv
  kvd cluster show node1 node2 node3`,
		Args: func(cmd *cobra.Command, args []string) error { return places(max(1, len(args)))(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			var all []*cluster.Standing
			var failure error
			for _, dir := range args {
				s, err := cluster.Look(vfs.OS, dir)
				if err != nil { // the others may be looked at
					failure = errors.Join(failure, dataFailed(err))
					continue
				}
				all = append(all, s)
				if asJSON {
					continue
				}
				if err := writeStanding(out, s); err != nil {
					return err
				}
			}
			if asJSON {
				printed := []standing{}
				for _, s := range all {
					printed = append(printed, standingOf(s))
				}
				return errors.Join(json.NewEncoder(out).Encode(printed), failure)
			}
			if len(all) > 1 {
				fmt.Fprintln(out, mostOf(all))
			}
			return failure
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return cmd
}

// mostOf says whose folder has most.
func mostOf(all []*cluster.Standing) string {
	for _, s := range all[1:] {
		if s.Cluster != all[0].Cluster {
			return fmt.Sprintf("they are of different clusters, and can't be compared: %s of cluster %d, %s of cluster %d", all[0].Dir, all[0].Cluster, s.Dir, s.Cluster)
		}
	}
	whole := slices.DeleteFunc(slices.Clone(all), func(s *cluster.Standing) bool { return !s.IsWhole() })
	if len(whole) == 0 {
		return "none of them has a whole state"
	}
	most := slices.MaxFunc(whole, (*cluster.Standing).Compare)
	var names []string
	for _, s := range whole {
		if s.Compare(most) == 0 {
			names = append(names, s.Dir)
		}
	}
	if len(names) > 1 {
		return fmt.Sprintf("most has each of %s, up to entry %d of term %d: they have the same",
			strings.Join(names, ", "), most.LastIndex, most.LastTerm)
	}
	return fmt.Sprintf("most has %s, up to entry %d of term %d", names[0], most.LastIndex, most.LastTerm)
}

func clusterRecoverCommand() *cobra.Command {
	var asJSON, yes bool
	cmd := &cobra.Command{
		Use:   "recover DIR",
		Short: "Make the folder of one node that of a new cluster, where a majority is lost for good",
		Long: `recover makes the folder DIR of a node that of the first node of a new cluster, whose only member it is. All that its log has is
kept, also what it does not know to be committed; what other nodes have besides is lost, so take the folder that has most: kvd
cluster show tells. Then start it as before, and the others with empty folders: they join.

Do this only where the others are lost for good, or stopped: what a majority goes on to write elsewhere would not be in the
new cluster. Nodes of the old one that come back are refused; remove their folders, and they join.

Where it is not said with --yes that it is meant, it is asked. What was done is noted in DIR/` + cluster.Notes + `. A crash leaves the folder as it
was, or done. No server may be using it.`,
		Example: `  kvd cluster recover /var/lib/kv
  kvd cluster recover --yes --json /var/lib/kv`,
		Args: places(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				if err := askRecover(cmd, args[0]); err != nil {
					return err
				}
			}
			was, is, err := cluster.Recover(vfs.OS, args[0], time.Now())
			if err != nil {
				return recoverFailed(err)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(struct {
					Was standing `json:"was"`
					Is  standing `json:"is"`
				}{standingOf(was), standingOf(is)})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `recovered: %s is now node %d of the new cluster %d, its only member, with all up to version %d
start it as before; then remove the folders of the other nodes, and start them as before: they join
`, args[0], is.Node, is.Cluster, is.Version)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().BoolVar(&yes, "yes", false, "it is meant: do not ask")
	return cmd
}

// recoverFailed gives the error of what can't be recovered its exit code.
func recoverFailed(err error) error {
	if errors.As(err, new(*cluster.NotWholeError)) {
		return failed(exitDamaged, err)
	}
	if errors.As(err, new(*cluster.LostError)) {
		return failed(exitDamaged, fmt.Errorf("%w; where no node is left to join, recover another folder, or restore a backup", err))
	}
	return dataFailed(err)
}

// askRecover shows what the folder has, and asks whether it is to be recovered. An error says that it is not.
func askRecover(cmd *cobra.Command, dir string) error {
	s, err := cluster.Look(vfs.OS, dir)
	if err != nil {
		return recoverFailed(err)
	}
	out := cmd.ErrOrStderr()
	if err := writeStanding(out, s); err != nil {
		return err
	}
	others := 0
	for _, m := range s.Members {
		if m.Voter && m.ID != s.Node {
			others++
		}
	}
	fmt.Fprintf(out, "It would become the only member of a new cluster. What the other %d voters have and this folder has not is lost.\n", others)
	if n := s.LastIndex - min(s.LastIndex, s.Committed); n > 0 {
		fmt.Fprintf(out, "Its last %d entries are not known to be committed; they would be kept.\n", n)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("stdin is no terminal to ask at: say with --yes that this is meant")
	}
	fmt.Fprint(out, "Are the others lost for good, or stopped, and is this the folder that has most? Type yes: ")
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && err != io.EOF {
		return failed(exitFiles, err)
	}
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}
