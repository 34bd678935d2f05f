package repl

import (
	"fmt"
	"strings"
)

func (s *session) printHelp(cmd *command) error {
	fmt.Fprintln(s.out, cmd.usage())
	return s.output(nil)
}
func (s *session) printOverview() error { return nil }
func (c *call) help() error             { return nil }
func topicNames() string                { return strings.Join(nil, ", ") }

const completeRequest = "__complete"

func (s *session) complete(args []string) error { return nil }
func (c *call) completion() error               { return nil }
