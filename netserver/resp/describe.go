package resp

import (
	"slices"
	"strings"
)

// COMMAND: what the table says of commands.

func command(t *talk, _ [][]byte) {
	t.array(len(served))
	for _, c := range served {
		t.describeCommand(c)
	}
}

func (t *talk) describeCommand(c *Command) {
	t.array(10)
	t.text(c.Name)
	t.int(int64(c.Arity))
	flags := c.flagNames()
	t.set(len(flags))
	for _, f := range flags {
		t.simple(f)
	}
	t.int(int64(c.First))
	t.int(int64(c.Last))
	t.int(int64(c.Step))
	categories := c.categories()
	t.set(len(categories))
	for _, name := range categories {
		t.simple(name)
	}
	t.array(0) // tips
	t.array(0) // what kinds of keys
	t.array(len(c.Subs))
	for _, sub := range c.Subs {
		t.describeCommand(sub)
	}
}

// categories are what Redis's rules for users would call the command.
func (c *Command) categories() []string {
	all := []string{"@" + c.Group}
	switch c.Group {
	case "generic":
		all[0] = "@keyspace"
	case "transactions":
		all[0] = "@transaction"
	case "server":
		all = nil
	}
	if c.Flags&FlagRead != 0 {
		all = append(all, "@read")
	}
	if c.Flags&FlagWrite != 0 {
		all = append(all, "@write")
	}
	if c.Flags&FlagAdmin != 0 {
		all = append(all, "@admin", "@dangerous")
	}
	if c.Flags&FlagFast != 0 {
		return append(all, "@fast")
	}
	return append(all, "@slow")
}

func commandCount(t *talk, _ [][]byte) { t.int(int64(len(served))) }

// named returns the command of a name as COMMAND has it, "client" or "client|id"; nil: there is none.
func named(name []byte) *Command {
	container, _, isSub := strings.Cut(string(name), "|")
	c := commands.find([]byte(container))
	if c == nil || !isSub {
		return c
	}
	i := slices.IndexFunc(c.Subs, func(s *Command) bool { return equalFold(name, s.Name) })
	if i < 0 {
		return nil
	}
	return c.Subs[i]
}

func commandInfo(t *talk, args [][]byte) {
	if len(args) == 2 {
		command(t, args)
		return
	}
	t.array(len(args) - 2)
	for _, name := range args[2:] {
		if c := named(name); c != nil {
			t.describeCommand(c)
		} else {
			t.nullArray()
		}
	}
}

func commandDocs(t *talk, args [][]byte) {
	all := served
	if len(args) > 2 {
		all = nil
		for _, name := range args[2:] {
			if c := named(name); c != nil {
				all = append(all, c)
			}
		}
	}
	t.documentCommands(all)
}

func (t *talk) documentCommands(all []*Command) {
	t.dict(len(all))
	for _, c := range all {
		t.text(c.Name)
		n := 3
		if c.Subs != nil {
			n++
		}
		t.dict(n)
		t.text("summary")
		t.text(c.Summary)
		t.text("since")
		t.text(c.Since)
		t.text("group")
		t.text(c.Group)
		if c.Subs != nil {
			t.text("subcommands")
			t.documentCommands(c.Subs)
		}
	}
}

func commandList(t *talk, args [][]byte) {
	wanted := func(*Command) bool { return true }
	switch {
	case len(args) == 2:
	case len(args) == 5 && equalFold(args[2], "filterby") && equalFold(args[3], "pattern"):
		wanted = func(c *Command) bool { return globMatch([]byte(strings.ToLower(string(args[4]))), []byte(c.Name)) }
	case len(args) == 5 && equalFold(args[2], "filterby") && equalFold(args[3], "aclcat"):
		category := "@" + strings.ToLower(string(args[4]))
		wanted = func(c *Command) bool { return slices.Contains(c.categories(), category) }
	case len(args) == 5 && equalFold(args[2], "filterby") && equalFold(args[3], "module"):
		wanted = func(*Command) bool { return false }
	default:
		t.err(errSyntax)
		return
	}
	var found []string
	for _, c := range served {
		if wanted(c) {
			found = append(found, c.Name)
		}
		for _, sub := range c.Subs {
			if wanted(sub) {
				found = append(found, sub.Name)
			}
		}
	}
	t.set(len(found))
	for _, name := range found {
		t.text(name)
	}
}

func commandGetKeys(t *talk, args [][]byte) {
	args = args[2:]
	c := find(args)
	switch {
	case c == nil:
		t.err("ERR Invalid command specified")
		return
	case c.First == 0 && c.keysOf == nil:
		t.err("ERR The command has no key arguments")
		return
	case !c.takes(len(args)):
		t.err("ERR Invalid number of arguments specified for command")
		return
	}
	found := c.appendKeys(nil, args)
	if len(found) == 0 {
		t.err("ERR Invalid arguments specified for command")
		return
	}
	t.array(len(found))
	for _, key := range found {
		t.bulk(key)
	}
}
