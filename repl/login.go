package repl

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"kv/protocol/printable"
	"kv/repl/terminal"
	"kv/repl/words"
)

func loginCommand() *command {
	return &command{
		name: "login", args: "[NAME]", min: 0, max: 1, where: shellOnly,
		short: "Say who you are, and be asked for the secret.",
		long: "The secret is not shown, and is kept in this shell alone, for this server: a lost connection is made again with it, and `connect` forgets it. " +
			"A wrong secret changes nothing.",
		examples: []example{{"login ann", "then the secret"}},
		build:    func(flags) func(*call) error { return (*call).login },
	}
}

func (c *call) login() error {
	if c.ask == nil {
		return usagef("login asks a person at a prompt: give --user NAME, and the secret in KV_SECRET or a file (--secret-file FILE)")
	}
	before, connection := c.session.opts, c.conn
	name := ""
	if len(c.args) > 0 {
		name = string(c.key(0))
	}
	for name == "" {
		answer, err := c.ask(c.ctx, "user: ", true)
		if err != nil {
			return cancelledOr(err)
		}
		name = strings.TrimSpace(answer)
	}
	secret, err := c.ask(c.ctx, "secret of "+printable.Line(name)+": ", false)
	if err != nil {
		return cancelledOr(err)
	}
	if secret == "" {
		return usagef("no secret was given: nothing is changed")
	}
	o := &c.session.opts
	o.origins = maps.Clone(o.origins)
	o.user, o.origins["user"], o.typedSecret = name, byFlag, secret
	c.conn = nil // the one before stays until there is another
	if _, err := c.client(); err != nil {
		c.session.opts, c.conn = before, connection
		return err
	}
	if connection != nil {
		connection.Close()
	}
	fmt.Fprintf(c.out, "logged in as %s\n", printable.Line(name))
	return nil
}

// cancelledOr words the error of a question that was not answered.
func cancelledOr(err error) error {
	if err == terminal.ErrInterrupt {
		return context.Canceled
	}
	return err
}

// loginWithSecret reports whether a line says more to login than a name, which is likely to be a secret.
func loginWithSecret(ws []words.Word) bool {
	return len(ws) > 2 && strings.EqualFold(ws[0].Text, "login")
}

// greetTime is how long the shell waits at most for what a server says of itself.
const greetTime = 300 * time.Millisecond

// greet says what kind of server it is that the shell talks to, as far as the server tells.
func (s *session) greet(ctx context.Context) {
	parts := []string{}
	ctx, cancel := context.WithTimeout(ctx, greetTime)
	defer cancel()
	s.place = placeInCluster{}
	if p, err := s.conn.Cluster(ctx); err == nil && p.Cluster != 0 {
		s.place = placeInCluster{at: s.conn.Leader(), leads: p.Leader == p.Node}
		parts = append(parts, fmt.Sprintf("one of %d servers of a cluster", len(p.Members)))
	}
	stats, err := s.conn.Stats(ctx)
	figure := map[string]uint64{}
	for _, st := range stats {
		figure[st.Name] = st.Value
	}
	if policy, ok := figure["sync_policy"]; err == nil && ok {
		parts = append(parts, durability(policy))
	}
	if keys, ok := figure["keys"]; ok {
		plural := "s"
		if keys == 1 {
			plural = ""
		}
		parts = append(parts, fmt.Sprintf("%d key%s", keys, plural))
	}
	if figure["read_only"] != 0 {
		parts = append(parts, s.colour(red, "read-only: it takes no writes now"))
	}
	name := s.conn.Hello().Server
	if name == "" {
		name = "a kv server"
	}
	line := printable.Line(name)
	if len(parts) > 0 {
		line += ": " + strings.Join(parts, ", ")
	}
	s.out.Flush()
	fmt.Fprint(s.env.Err, hanging("", line, s.textWidth()))
}

// durability is what the figure sync_policy says of what an answer means.
func durability(policy uint64) string {
	switch policy {
	case 0:
		return "in memory alone"
	case 1:
		return "on disk, when its system sees fit (sync never)"
	case 2:
		return "on disk within moments (sync interval)"
	case 3:
		return "on disk before each answer (sync always)"
	}
	return "sync policy " + decimal(policy)
}
