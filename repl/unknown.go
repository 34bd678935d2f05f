package repl

import (
	"strings"

	"kv/repl/words"
)

// elsewhere are commands of other tools, and the command of kvc that does the same. Rows whose command is "" explain why
// there is none.
var elsewhere = []struct{ names, command, says string }{
	{"put write store insert update", "set", "set KEY VALUE stores a value"},
	{"add setnx create", "set", "set KEY VALUE --if-absent stores a value where there is none"},
	{"setex psetex", "set", "set KEY VALUE --ttl 30s stores a value that expires"},
	{"cas replace", "set", "set KEY VALUE --if-version V stores a value where nobody changed it; meta KEY prints the version"},
	{"getset", "txn", "txn reads and writes at one instant: a line get KEY, a line set KEY VALUE"},
	{"read fetch cat show print", "get", "get KEY prints the value"},
	{"gets getm", "mget", "mget KEY KEY prints many values"},
	{"delete remove rm unlink erase", "del", "del KEY deletes"},
	{"keys ls list dir find search iterate scanall", "scan", "scan PREFIX prints the keys that begin with it"},
	{"exists has contains", "meta", "meta KEY finds a key or says that there is none, with exit code 1"},
	{"ttl pttl expiretime pexpiretime", "meta", "meta KEY prints when it expires"},
	{"strlen size length", "meta", "meta KEY prints the size of the value"},
	{"dbsize len", "count", "count prints how many keys there are"},
	{"info status stat top", "stats", "stats prints the server's figures"},
	{"monitor watch", "stats", "stats --watch shows the server's figures as they change; there is no way to watch keys"},
	{"pexpire touch lease", "expire", "expire KEY 30s lets a key expire; set KEY VALUE --ttl 30s gives it a value too"},
	{"expireat pexpireat", "expire", "expire KEY --at TIME lets a key expire then"},
	{"incrby inc increment", "incr", "incr KEY BY adds to a number"},
	{"decr decrby dec decrement", "incr", "incr KEY -- -1 subtracts from a number"},
	{"incrbyfloat", "incr", "numbers are whole ones: incr KEY BY"},
	{"append prepend setrange getrange setbit getbit", "set", "a value is read and written as a whole: get KEY, set KEY VALUE"},
	{"flushall flushdb flush_all flush wipe truncate", "del",
		"scan | kvc del - deletes all keys, del --prefix P those with a prefix"},
	{"copy cp rename mv move renamenx", "set", "a key keeps its name: get OLD | kvc set NEW -"},
	{"multi transaction", "begin", "begin opens a transaction in the shell, and kvc txn reads one from stdin"},
	{"exec", "commit", "commit applies the transaction that begin opened"},
	{"discard unwatch", "abort", "abort forgets the transaction that begin opened"},
	{"save bgsave checkpoint", "snapshot",
		"snapshot makes the server write all to its disk, backup FILE writes all to a file of yours"},
	{"dump", "export", "export prints all records, backup FILE writes all of one instant to a file"},
	{"restore load", "import", "import FILE stores records; what backup wrote is read by kvd restore"},
	{"versions log revisions", "history", "history KEY prints the versions that are kept"},
	{"undo revert", "rollback", "rollback KEY VERSION takes an earlier value back; history KEY prints the versions"},
	{"open", "connect", "connect HOST:PORT is for the shell, and --addr HOST:PORT for a single command"},
	{"select use db swapdb", "", "there is one store: let the keys of each part begin alike, as in app:key"},
	{"auth logon signin", "", "give --user NAME, and the secret in KV_SECRET or in a file with --secret-file FILE; at the shell's prompt, login NAME asks for it"},
	{"config", "", "the server's options are those of kvd: kvd --help"},
	{"shutdown stop", "", "a server is stopped where it runs, with SIGTERM"},
	{"subscribe unsubscribe psubscribe publish", "", "there are no channels, and no way to watch keys"},
	{"hset hget hgetall hdel hmset hmget hkeys lpush rpush lpop rpop lrange llen sadd srem smembers zadd zrange xadd xread", "",
		"a value is bytes: there are no lists, sets or hashes; let keys begin alike, as in user:1:name"},
	{"version ver", "", "kvc --version prints it"},
	{"clear cls", "", "Ctrl-L clears the screen; nothing was deleted"},
	{"bye logout leave q", "exit", "exit leaves the shell"},
	{"h ?", "help", "help lists all commands"},
}

// unknownCommand says that there is no such command, and which one may have been meant. cmd is the command of this name
// that exists in another mode only; nil: there is none.
func (s *session) unknownCommand(name string, cmd *command) error {
	switch {
	case cmd != nil && s.mode == oneShot:
		return usagef("%q is a command of the shell: start it with kvc and no command", cmd.name)
	case cmd != nil:
		return usagef("%q is no command of the shell: run kvc %s", cmd.name, cmd.name)
	}
	given, name := name, strings.ToLower(name)
	for _, e := range elsewhere {
		for known := range strings.FieldsSeq(e.names) {
			switch {
			case known == name && e.command != "":
				return usagef("unknown command %q, the nearest is %q: %s", name, e.command, e.says)
			case known == name:
				return usagef("unknown command %q: %s", name, e.says)
			}
		}
	}
	nearest, best := "", 1+min(2, max(1, len(name)/2)) // further away it is no slip of the fingers
	for _, c := range commands() {
		if d := distance(name, c.name); c.usable(s.mode) && d < best {
			nearest, best = c.name, d
		}
	}
	if nearest == "" {
		quoted, _ := words.AppendShortened(nil, []byte(given), 200)
		return usagef("unknown command %s (help lists all)", quoted)
	}
	return usagef("unknown command %q, the nearest is %q (help lists all)", name, nearest)
}

// tooMany says what is wrong with a command that has more arguments than it takes.
func (c *command) tooMany(args []arg) error {
	usage := "usage: " + c.usage()
	if c.name == "get" || c.name == "meta" {
		return usagef("%s (mget reads many keys)", usage)
	}
	if c.name != "set" {
		return usagef("%s", usage)
	}
	switch strings.ToUpper(string(args[2].b)) {
	case "EX", "PX", "EXAT", "PXAT":
		return usagef("%s (--ttl 30s lets the key expire)", usage)
	case "NX":
		return usagef("%s (--if-absent stores only where there is none)", usage)
	case "XX", "KEEPTTL", "GET":
		return usagef("%s (help set tells the options)", usage)
	}
	value := "…"
	if joined := join(args[1:]); len(joined) <= 60 && !strings.ContainsAny(joined, `'"\`) {
		value = joined
	}
	return usagef("%s: a value of several words is quoted: set %s '%s'", usage, shown(args[0].b), value)
}

func join(args []arg) string {
	all := make([]string, len(args))
	for i, a := range args {
		all[i] = string(a.b)
	}
	return strings.Join(all, " ")
}

// pattern says of a prefix under which nothing was found that it looks like a pattern of another tool; "": it does not.
func pattern(prefix []byte) string {
	plain, _, special := strings.Cut(string(prefix), "*")
	if !special {
		if plain, _, special = strings.Cut(plain, "?"); !special {
			return ""
		}
	}
	if plain == "" {
		return "what is given is a prefix, not a pattern; without one all keys are meant"
	}
	return "what is given is a prefix, not a pattern, such as " + shown([]byte(plain))
}

// distance is how many letters must be added, dropped, changed or swapped with their neighbour to make b of a; a name
// that begins with a is near.
func distance(a, b string) int {
	if a != "" && strings.HasPrefix(b, a) {
		return 1
	}
	if len(a) > 64 {
		a = a[:64]
	}
	var before, last []int
	for i := range len(a) + 1 {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; i == 0 && j <= len(b); j++ {
			row[j] = j
		}
		for j := 1; i > 0 && j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
