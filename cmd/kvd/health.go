package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func healthCommand() *cobra.Command {
	var address place
	var live bool
	timeout := duration(3 * time.Second)
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a server on this machine whether it is ready",
		Long: `health asks the server that serves --http whether reads and writes are taken (/readyz), and prints what it says. The exit code is 1 if they
are not: the server is not there, loads its data, shuts down or is read-only. It is for where nothing else can ask, as in a container without a shell.`,
		Example: `  kvd health --http 127.0.0.1:7071
  kvd health --live`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("kvd health takes no argument, and %q was given", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			at := cmp.Or(string(address), os.Getenv(variable("http")))
			if at == "" {
				return fmt.Errorf("say where the server's pages are: --http, or the variable %s", variable("http"))
			}
			url, err := pageURL(at, live)
			if err != nil {
				return err
			}
			socket, _ := unixPath(at)
			said, err := askPage(url, socket, time.Duration(timeout))
			if err != nil {
				return failed(exitDamaged, err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
			return err
		},
	}
	cmd.Flags().Var(&address, "http", "the server's --http; without it the variable "+variable("http"))
	cmd.Flags().BoolVar(&live, "live", false, "ask only whether it lives (/livez): also while it loads its data or is read-only")
	cmd.Flags().Var(&timeout, "timeout", "how long to wait for the answer")
	return cmd
}

// pageURL is where a server that was given the address as --http has the page.
func pageURL(address string, live bool) (string, error) {
	if err := checkAt("--http", address); err != nil {
		return "", err
	}
	if _, ok := unixPath(address); ok {
		address = "localhost:80" // so it is called to whoever listens there
	}
	host, port, err := net.SplitHostPort(address)
	switch ip := net.ParseIP(host); {
	case err != nil:
		return "", err
	case port == "0":
		return "", fmt.Errorf("--http %s: port 0 is any that is free, and nobody knows which", address)
	case host == "" || ip != nil && ip.IsUnspecified():
		host = "127.0.0.1"
	}
	page := "/readyz"
	if live {
		page = "/livez"
	}
	return "http://" + net.JoinHostPort(host, port) + page, nil
}

// askPage returns the text of a page, by a Unix socket if one is named. The error says that the page does not say that
// all is well.
func askPage(url, socket string, timeout time.Duration) (string, error) {
	by := &http.Transport{DisableKeepAlives: true}
	if socket != "" {
		by.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	direct := &http.Client{Timeout: timeout, Transport: by} // by no proxy of the environment's
	r, err := direct.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, 4096))
	said := strings.TrimSpace(string(body))
	if err == nil && r.StatusCode != http.StatusOK {
		err = errors.New(cmp.Or(said, r.Status))
	}
	return said, err
}
