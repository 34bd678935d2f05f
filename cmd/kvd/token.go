package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kv/netserver"
	"kv/repl/files"
)

func tokenCommand() *cobra.Command {
	role := "rw"
	var file place
	cmd := &cobra.Command{
		Use:   "token USER",
		Short: "Make a secret for a user, and the line for --auth-file that goes with it",
		Long: `token makes a new random secret and prints it on stderr: it is for the user. On stdout goes the user's line for the file that
kvd --auth-file names; it does not give the secret away. With --auth-file the line is added to that file, which is made
where it is missing. A server that runs reads the file again on SIGHUP.`,
		Example: `  kvd token anna --auth-file users
  kvd token anna >>users 2>anna.secret
  kvd token --role ro backup`,
		Args: places(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret := rand.Text()
			line, err := netserver.AccountLine(args[0], role, []byte(secret))
			if err != nil {
				return err
			}
			// The secret comes first: a line whose secret nobody has seen is of no use, and would be in the way.
			tell := func() error { return printSecret(os.Stderr, secret) }
			if file != "" {
				return addAccount(cmd.Context(), string(file), args[0], line, tell)
			}
			if err := tell(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
			return err
		},
	}
	cmd.Flags().StringVar(&role, "role", role, "what the user may do: rw; ro to read only; admin to change the cluster too")
	complete(cmd, "role", "rw", "ro", "admin")
	cmd.Flags().Var(&file, "auth-file", "file to add the line to")
	return cmd
}

// printSecret prints the secret alone, so that stderr can be a file for kvc --secret-file; on a terminal it says what it is.
func printSecret(to *os.File, secret string) error {
	if files.Closed(to) {
		return failed(exitFiles, errors.New("nobody would see the secret: stderr is closed"))
	}
	format := "%s\n"
	if term.IsTerminal(int(to.Fd())) {
		format = "secret: %s\n"
	}
	if _, err := fmt.Fprintf(to, format, secret); err != nil {
		return failed(exitFiles, fmt.Errorf("print the secret: %w", err))
	}
	return nil
}

// addAccount adds the user's line to a file for --auth-file, made where it is missing, all at once: who reads it sees the old
// file or the new one. It keeps its mode and its owner; a new one is its owner's alone. It calls tell once nothing but a
// failing disk can keep it from that. A file that is wrong, or has the user already, is left as it is.
func addAccount(ctx context.Context, file, user, line string, tell func() error) error {
	unlock, err := files.Lock(ctx, file)
	if err != nil {
		return failed(exitFiles, err)
	}
	defer unlock()
	before, err := os.Stat(file)
	var text []byte
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return failed(exitFiles, err)
	case !before.Mode().IsRegular():
		return fmt.Errorf("--auth-file %s: it is no regular file", file)
	default:
		if text, err = os.ReadFile(file); err != nil {
			return failed(exitFiles, err)
		}
	}
	for l := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(strings.TrimSpace(l), ":"); name == user {
			return fmt.Errorf("--auth-file %s: user %q is in it already; delete that line first for a new secret", file, user)
		}
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = append(append(text, line...), '\n')
	if err := new(netserver.Accounts).Load(bytes.NewReader(text)); err != nil {
		return fmt.Errorf("--auth-file %s: %w", file, err)
	}
	return failed(exitFiles, files.Write(ctx, file, 0o600, func(w io.Writer) error {
		if _, err := w.Write(text); err != nil {
			return err
		}
		return tell()
	}))
}
