package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"kv/netserver"
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
				return addAccount(string(file), args[0], line, tell)
			}
			if err := tell(); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
			return err
		},
	}
	cmd.Flags().StringVar(&role, "role", role, "what the user may do: rw, or ro to read only")
	complete(cmd, "role", "rw", "ro")
	cmd.Flags().Var(&file, "auth-file", "file to add the line to")
	return cmd
}

// printSecret prints the secret alone, so that stderr can be a file for kvc --secret-file; on a terminal it says what it is.
func printSecret(to *os.File, secret string) error {
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
func addAccount(file, user, line string, tell func() error) error {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	folder, err := lockFolder(filepath.Dir(file))
	if err != nil {
		return failed(exitFiles, err)
	}
	defer folder.Close()
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
	return failed(exitFiles, replaceFile(file, before, text, tell))
}

// replaceFile gives the file this text, by a new file that takes its name once it is on disk. before is what the file was, nil
// if nothing. ready is called before the name changes.
func replaceFile(file string, before fs.FileInfo, text []byte, ready func() error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if before != nil {
		if err := f.Chmod(before.Mode().Perm()); err != nil {
			return err
		}
		if was, ok := before.Sys().(*syscall.Stat_t); ok {
			if err := f.Chown(int(was.Uid), int(was.Gid)); err != nil {
				return err
			}
		}
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// lockFolder keeps others that call it from changing files in the folder, until what it returns is closed.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}
