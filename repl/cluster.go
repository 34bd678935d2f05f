package repl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"kv/protocol"
	"kv/protocol/client"
	"kv/protocol/printable"
)

// exitUnwell is the exit code of cluster status, and of cluster wait, for a cluster that takes no writes or soon may not.
const exitUnwell = exitNothing

// unwellError says what is wrong with a cluster.
type unwellError struct{ what string }

func (e unwellError) Error() string { return e.what }

func clusterCommand() *command {
	return &command{
		name: "cluster", args: "[status | wait | add PEER | remove ID | transfer ID]", min: 0, max: 2,
		short: "Show the servers of a cluster, or change which they are.",
		long: "`status` prints which server leads, and for each server a line: number, role, whether it can be reached, its address for clients and the one for the other servers. If no server leads, or the loss of one more would leave none, " +
			"it says in words what is wrong, and the exit code is 1. `wait` waits until a server leads and all can be reached, even for one that does not listen yet, for as long as `--timeout` says. " +
			"`add` lets the server at a peer address join: it follows until it has caught up, and votes then. `remove` takes a server out, and `transfer` has it lead; both take a number as status prints it. " +
			"A change needs a user with the role `admin`, and is under way when the command ends: `wait`, or `status`, shows what came of it.",
		examples: []example{
			{"cluster", "how it is"},
			{"cluster status --json", "the same as JSON"},
		},
		build: func(flags) func(*call) error { return (*call).cluster },
	}
}

func (c *call) cluster() error {
	verb := "status"
	if len(c.args) > 0 {
		verb = strings.ToLower(string(c.key(0)))
	}
	var q protocol.Member
	switch n := len(c.args); {
	case (verb == "status" || verb == "wait") && n < 2:
	case verb == "add" && n == 2:
		q = protocol.Member{Change: protocol.MemberAdd, Peer: string(c.key(1))}
		if _, err := parseHostPort(q.Peer); err != nil {
			return usagef("%s is not the address that the other servers reach it at, such as n4.example:7071", shown(c.key(1)))
		}
	case (verb == "remove" || verb == "transfer") && n == 2:
		id, err := strconv.ParseUint(string(c.key(1)), 10, 64)
		if err != nil || id == 0 {
			return usagef("%s is not the number of a server: cluster status prints them", shown(c.key(1)))
		}
		q = protocol.Member{Change: protocol.MemberRemove, ID: id}
		if verb == "transfer" {
			q.Change = protocol.MemberTransfer
		}
	default:
		return usagef("usage: %s", clusterCommand().usage())
	}
	if verb == "wait" {
		return c.clusterWait()
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	if verb == "status" {
		return c.clusterStatus(kv)
	}
	if err := kv.Member(c.ctx, q); err != nil {
		return err
	}
	c.clusterDone()
	return nil
}

// clusterDone says that a command that prints nothing else is done.
func (c *call) clusterDone() {
	if c.opts.json {
		c.out.WriteString("{}\n")
	} else {
		c.ok()
	}
}

func (c *call) clusterStatus(kv *client.Client) error {
	p, err := kv.Cluster(c.ctx)
	if err != nil {
		return err
	}
	more := c.clusterFigures(kv, p)
	if c.opts.json {
		if err := c.clusterJSON(p, more); err != nil {
			return err
		}
	} else {
		c.clusterTable(p, more)
	}
	if what := unwell(p); what != "" {
		return unwellError{what}
	}
	return nil
}

// clusterFigures are figures of the cluster that a server has among its statistics; those that it does not have are 0.
type clusterFigures struct {
	format, readable uint64 // the format that is written, and the newest that the server reads
	differ           bool   // servers were started with different settings
}

func (c *call) clusterFigures(kv *client.Client, p protocol.ClusterResponse) (f clusterFigures) {
	if p.Cluster == 0 {
		return f
	}
	stats, _ := kv.Stats(c.ctx) // how the cluster is counts for more
	for _, s := range stats {
		switch s.Name {
		case "cluster_format":
			f.format = s.Value
		case "cluster_format_readable":
			f.readable = s.Value
		case "cluster_settings_differ":
			f.differ = s.Value != 0
		}
	}
	return f
}

// clusterWait asks again and again until all is well, from before the first server listens on.
func (c *call) clusterWait() error {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.timeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error // why it is not well
	for {
		err := c.clusterWell(ctx)
		switch {
		case err == nil:
			c.clusterDone()
			return nil
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case ctx.Err() == nil && !isUnwell(err) && !mayPass(err):
			return err
		case ctx.Err() == nil || last == nil: // else it says no more than that time is over
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if c.ctx.Err() != nil {
				return c.ctx.Err()
			}
			return fmt.Errorf("within %v it did not get well: %w", c.opts.timeout, last)
		}
	}
}

// clusterWell is nil when all is well with the cluster.
func (c *call) clusterWell(ctx context.Context) error {
	kv, err := c.session.client(ctx)
	if err != nil {
		return err
	}
	p, err := kv.Cluster(ctx)
	if err != nil {
		return err
	}
	if what := waitsFor(p); what != "" {
		return unwellError{what}
	}
	return nil
}

// mayPass reports whether err, of a connection or a request on it, may be another a moment later.
func mayPass(err error) bool {
	code := exitCode(err)
	return (code == exitBroken || errors.Is(err, protocol.ErrUnavailable)) && !client.Lasting(err)
}

// role is how a member's role is called.
func role(r protocol.Role) string {
	if r == protocol.Learner {
		return "learner"
	}
	return "voter"
}

func (c *call) clusterTable(p protocol.ClusterResponse, more clusterFigures) {
	switch {
	case p.Cluster == 0 && p.Node == 0:
		c.out.WriteString("alone: the server is in no cluster\n")
		return
	case p.Cluster == 0:
		fmt.Fprintf(c.out, "server %d, in no cluster yet\n", p.Node)
		return
	}
	leader := "none"
	if p.Leader != 0 {
		leader = decimal(p.Leader)
	}
	fmt.Fprintf(c.out, "leader %s\nterm %d\n", leader, p.Term)
	if more.readable > more.format {
		fmt.Fprintf(c.out, "format %d, and %d once all servers read it\n", more.format, more.readable)
	}
	if more.differ {
		c.out.WriteString("the servers were started with different --history, --history-age or --max-memory\n")
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, m := range p.Members {
		state := "reachable"
		if !m.Reachable {
			state = "unreachable"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", m.ID, role(m.Role), state, printable.Line(m.Client), printable.Line(m.Peer))
	}
	t.Flush()
}

func (c *call) clusterJSON(p protocol.ClusterResponse, more clusterFigures) error {
	type member struct {
		ID        uint64 `json:"id"`
		Role      string `json:"role"`
		Client    string `json:"client"`
		Peer      string `json:"peer"`
		Reachable bool   `json:"reachable"`
		Matched   uint64 `json:"matched"`
	}
	all := struct {
		Cluster   uint64   `json:"cluster"`
		Node      uint64   `json:"node"`
		Leader    uint64   `json:"leader"`
		Term      uint64   `json:"term"`
		Committed uint64   `json:"committed"`
		Published uint64   `json:"published"`
		Members   []member `json:"members"`
		Format    uint64   `json:"format,omitempty"`
		Readable  uint64   `json:"format_readable,omitempty"`
		Differ    bool     `json:"settings_differ,omitempty"`
	}{p.Cluster, p.Node, p.Leader, p.Term, p.Committed, p.Published, []member{}, more.format, more.readable, more.differ}
	for _, m := range p.Members {
		all.Members = append(all.Members, member{m.ID, role(m.Role), m.Client, m.Peer, m.Reachable, m.Matched})
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	c.out.Write(append(b, '\n'))
	return nil
}

// unwell says in words what is wrong with a cluster; "": nothing, or it is none.
func unwell(p protocol.ClusterResponse) string {
	switch {
	case p.Cluster == 0 && p.Node == 0:
		return ""
	case p.Cluster == 0:
		return "the server waits to found a cluster, or to join one: nothing is written or read; its log says what it waits for"
	case len(p.Members) > 0 && !slices.ContainsFunc(p.Members, func(m protocol.ClusterMember) bool { return m.ID == p.Node }):
		return fmt.Sprintf("server %d, which has answered, is no member any more: stop it, and ask another", p.Node)
	}
	voters, reached := 0, 0
	var lost []string
	for _, m := range p.Members {
		if m.Role != protocol.Voter {
			continue
		}
		voters++
		if m.Reachable || m.ID == p.Node {
			reached++
		} else {
			lost = append(lost, decimal(m.ID))
		}
	}
	majority := voters/2 + 1
	switch {
	case p.Leader == 0 && reached < majority:
		return fmt.Sprintf("no server leads, and %d of %d voters can be reached, of which it takes %d: nothing is written or read; bring back server %s", reached, voters, majority, strings.Join(lost, " or "))
	case p.Leader == 0:
		return "no server leads: one is being chosen, or none can be; nothing is written or read until then"
	case reached < majority:
		return fmt.Sprintf("%d of %d voters can be reached, and it takes %d: nothing is written or read; bring back server %s", reached, voters, majority, strings.Join(lost, " or "))
	case reached == majority && len(lost) > 0:
		return fmt.Sprintf("server %s can't be reached: if one more is lost, nothing is written or read any more",
			strings.Join(lost, ", "))
	}
	return ""
}

// waitsFor says what a cluster lacks until a server leads and all are there; "": nothing.
func waitsFor(p protocol.ClusterResponse) string {
	if what := unwell(p); what != "" {
		return what
	}
	missing := slices.IndexFunc(p.Members, func(m protocol.ClusterMember) bool {
		return m.ID != p.Node && !m.Reachable || m.Role == protocol.Learner
	})
	if missing < 0 {
		return ""
	}
	if m := p.Members[missing]; m.Role == protocol.Learner && m.Reachable {
		return fmt.Sprintf("server %d has not caught up", m.ID)
	}
	return fmt.Sprintf("server %d can't be reached", p.Members[missing].ID)
}

// isUnwell reports whether err says what is wrong with a cluster.
func isUnwell(err error) bool { return errors.As(err, new(unwellError)) }
