package resp

import (
	"strings"

	"kv/netserver"
)

// Command is a row of the table of commands. What COMMAND tells of it, who may use it, and what docs/resp.md says derive from it.
type Command struct {
	Name  string // in lower case; of a subcommand "client|id"
	Arity int    // how many arguments it has with its name; -n: n or more
	Flags Flags
	// Its keys: the arguments from First to Last, which counts from the end if it is negative, each Step-th. First 0:
	// it has none.
	First, Last, Step int
	// keysOf says so of one whose arguments tell.
	keysOf func(args [][]byte) (first, last, step int)

	Group   string
	Since   string // the version of Redis, or Valkey, that had it first
	Summary string
	Note    string // in what it differs here; "": in nothing
	Subs    []*Command

	// One of run and do is set, unless there are Subs; one may be set besides run.
	run func(*call)                  // a command on keys
	do  func(t *talk, args [][]byte) // a command on the connection or the server
	one func(t *talk, args [][]byte) // as run, but faster, for a command outside of a transaction
}

// Flags are properties of a command.
type Flags uint16

// The properties. Who may use a command: without any of the first three, those who may write.
const (
	FlagOpen    Flags = 1 << iota // everybody, before a login too
	FlagRead                      // who may read; it reads keys
	FlagAnyone                    // who may read
	FlagWrite                     // it writes keys
	FlagOOM                       // the command takes memory, and is refused when there is none left
	FlagFast                      // the command takes the same time however many keys there are
	FlagNoMulti                   // it can't be in a transaction
	FlagAdmin                     // who may change the cluster
)

// names are those of the flags as COMMAND has them.
var flagNames = []struct {
	flag Flags
	name string
}{
	{FlagWrite, "write"}, {FlagRead, "readonly"}, {FlagOOM, "denyoom"}, {FlagAdmin, "admin"}, {FlagFast, "fast"},
	{FlagOpen, "no_auth"}, {FlagNoMulti, "no_multi"},
}

func (c *Command) flagNames() (names []string) {
	for _, f := range flagNames {
		if c.Flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	if c.keysOf != nil {
		names = append(names, "movablekeys")
	}
	return names
}

// Access is what a user needs to use the command.
func (c *Command) Access() netserver.Access {
	switch {
	case c.Flags&FlagOpen != 0:
		return netserver.AccessNone
	case c.Flags&(FlagRead|FlagAnyone) != 0 && c.Flags&FlagWrite == 0:
		return netserver.AccessRead
	}
	if c.Flags&FlagAdmin != 0 {
		return netserver.AccessAdmin
	}
	return netserver.AccessWrite
}

// takes reports whether the command may have n arguments.
func (c *Command) takes(n int) bool {
	return n == c.Arity || c.Arity < 0 && n >= -c.Arity
}

// keyRange returns which of args are keys: each step-th from first on, to last. first is 0 if none is.
func (c *Command) keyRange(args [][]byte) (first, last, step int) {
	if c.keysOf != nil {
		return c.keysOf(args)
	}
	if first, last, step = c.First, c.Last, c.Step; last < 0 {
		last += len(args)
	}
	return first, min(last, len(args)-1), step
}

// appendKeys appends the keys among args to dst.
func (c *Command) appendKeys(dst, args [][]byte) [][]byte {
	first, last, step := c.keyRange(args)
	if first == 0 {
		return dst
	}
	for i := first; i <= last; i += step {
		dst = append(dst, args[i])
	}
	return dst
}

// index finds commands by their names: a table with open addressing that is at most a quarter full, so nearly always one look is
// enough.
type index struct {
	slots [1024]*Command
}

func newIndex(all []*Command) *index {
	x := new(index)
	for _, c := range all {
		i := x.hash([]byte(c.Name))
		for x.slots[i] != nil {
			i = (i + 1) % uint(len(x.slots))
		}
		x.slots[i] = c
	}
	return x
}

// hash is the same for a name in any case.
func (x *index) hash(name []byte) uint {
	h := uint(len(name))
	for _, b := range name[:min(len(name), 16)] {
		h = h*31 + uint(b|0x20)
	}
	return h % uint(len(x.slots))
}

func (x *index) find(name []byte) *Command {
	for i := x.hash(name); x.slots[i] != nil; i = (i + 1) % uint(len(x.slots)) {
		if equalFold(name, x.slots[i].Name) {
			return x.slots[i]
		}
	}
	return nil
}

// served is the table, and commands finds what is in it. They are set here, since commands ask for each other.
var (
	served   []*Command
	commands *index
)

func init() { served, commands = table, newIndex(table) }

// find returns the command that args are, with its subcommand; nil if there is none such.
func find(args [][]byte) *Command {
	if len(args) == 0 {
		return nil
	}
	c := commands.find(args[0])
	if c == nil || c.Subs == nil || len(args) == 1 {
		return c
	}
	for _, sub := range c.Subs {
		if equalFold(args[1], sub.Name[len(c.Name)+1:]) {
			return sub
		}
	}
	return nil
}

// unknown is the answer to args that are no command.
func unknown(args [][]byte) string {
	name := args[0][:min(len(args[0]), 128)]
	if c := commands.find(name); c != nil {
		sub := args[1][:min(len(args[1]), 128)]
		return "ERR unknown subcommand '" + string(sub) + "'. Try " + strings.ToUpper(c.Name) + " HELP."
	}
	why := notServed(name)
	if why == noCluster {
		return "ERR This instance has cluster support disabled"
	}
	text := "ERR unknown command '" + string(name) + "', with args beginning with: "
	begin := len(text)
	for _, a := range args[1:] {
		room := 128 - (len(text) - begin)
		if room <= 0 {
			break
		}
		text += "'" + string(a[:min(len(a), room)]) + "' "
	}
	if why != "" {
		text = strings.TrimSuffix(text, " ") + "; kv does not serve it: " + why
	}
	return text
}
