// Command kvc is the client of a kv server: one command, a script of them, or a shell.
package main

import (
	"os"

	"kv/repl"
)

func main() { os.Exit(repl.Run(os.Args[1:])) }
