// Command kvc is the client of a kv server: one command, a script of them, or a shell.
package main

import (
	"os"

	"kv/cmd/internal/version"
	"kv/repl"
)

func main() { os.Exit(repl.Run(version.String(), os.Args[1:])) }
