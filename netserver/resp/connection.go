package resp

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"kv/netserver"
)

// The commands about the connection.

func ping(t *talk, args [][]byte) {
	switch len(args) {
	case 1:
		t.simple("PONG")
	case 2:
		t.bulk(args[1])
	default:
		t.err("ERR wrong number of arguments for 'ping' command")
	}
}

func echo(t *talk, args [][]byte) { t.bulk(args[1]) }

func quit(t *talk, _ [][]byte) {
	t.ok()
	t.end(nil)
}

// end has the connection end once the answers are sent.
func (t *talk) end(err error) {
	t.ended = true
	t.out.End(err)
}

func reset(t *talk, _ [][]byte) {
	t.discard()
	t.resp3, t.mute, t.name = false, muteNone, ""
	if t.client.Server().HasAccounts() {
		t.client.Logout()
	}
	t.simple("RESET")
}

func selectDB(t *talk, args [][]byte) {
	switch n, ok := parseInt(args[1]); {
	case !ok:
		t.err(errNotInt)
	case n != 0:
		t.err("ERR DB index is out of range")
	default:
		t.ok()
	}
}

// defaultUser is the name of a client that has not logged in.
const defaultUser = "default"

func (t *talk) user() string {
	if u := t.client.User(); u != "" {
		return u
	}
	return defaultUser
}

const errWrongPass = "WRONGPASS invalid username-password pair or user is disabled."

func auth(t *talk, args [][]byte) {
	user, secret := []byte(defaultUser), args[1]
	switch len(args) {
	case 2:
		if !t.client.Server().HasAccounts() {
			t.err("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
			return
		}
	case 3:
		user, secret = args[1], args[2]
	default:
		t.err(errSyntax)
		return
	}
	if t.logIn(user, secret) {
		t.ok()
	}
}

// logIn makes the connection this user's. If it can't it answers that.
func (t *talk) logIn(user, secret []byte) bool {
	if !t.client.Server().HasAccounts() {
		if string(user) == defaultUser {
			return true
		}
		t.err(errWrongPass)
		return false
	}
	if !t.nested { // what was answered before does not wait
		if !t.out.Flush() {
			t.answered = true
			return false
		}
		t.rebase()
	}
	if err := t.client.Login(user, secret); err != nil {
		t.err(errWrongPass)
		if t.client.Barred() {
			t.end(nil)
		}
		return false
	}
	return true
}

func hello(t *talk, args [][]byte) {
	version := int64(0)
	if len(args) > 1 {
		var ok bool
		if version, ok = parseInt(args[1]); !ok {
			t.err("ERR Protocol version is not an integer or out of range")
			return
		}
		if version != 2 && version != 3 {
			t.err("NOPROTO unsupported protocol version")
			return
		}
	}
	var user, secret, name []byte
	for i := 2; i < len(args); i++ {
		switch {
		case equalFold(args[i], "auth") && i+2 < len(args):
			user, secret = args[i+1], args[i+2]
			i += 2
		case equalFold(args[i], "setname") && i+1 < len(args):
			i++
			if name = args[i]; !printableWord(name) {
				t.err("ERR Client names cannot contain spaces, newlines or special characters.")
				return
			}
		default:
			t.err("ERR Syntax error in HELLO option '" + string(args[i]) + "'")
			return
		}
	}
	if user != nil && !t.logIn(user, secret) {
		return
	}
	if t.client.Access() == netserver.AccessNone {
		t.client.Denied("hello") // which ends who never stops asking
		t.err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
		return
	}
	if name != nil {
		t.name = string(name)
	}
	if version != 0 {
		t.resp3 = version == 3
	}
	t.dict(7)
	t.text("server")
	t.text(serverName)
	t.text("version")
	t.text(redisVersion)
	t.text("proto")
	t.int(t.version())
	t.text("id")
	t.int(int64(t.client.ID()))
	t.text("mode")
	t.text("standalone")
	t.text("role")
	if leads, _ := t.leads(); leads {
		t.text("master")
	} else {
		t.text("replica")
	}
	t.text("modules")
	t.array(0)
}

// version is that of RESP.
func (t *talk) version() int64 {
	if t.resp3 {
		return 3
	}
	return 2
}

// printableWord reports whether b has no space and nothing that can't be printed.
func printableWord(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool { return r < '!' || r > '~' })
}

func clientID(t *talk, _ [][]byte) { t.int(int64(t.client.ID())) }

func clientGetName(t *talk, _ [][]byte) {
	if t.name == "" {
		t.null()
		return
	}
	t.text(t.name)
}

func clientSetName(t *talk, args [][]byte) {
	if !printableWord(args[2]) {
		t.err("ERR Client names cannot contain spaces, newlines or special characters.")
		return
	}
	t.name = string(args[2])
	t.ok()
}

func clientSetInfo(t *talk, args [][]byte) {
	at := &t.library
	switch {
	case equalFold(args[2], "lib-name"):
	case equalFold(args[2], "lib-ver"):
		at = &t.libraryVersion
	default:
		t.err("ERR Unrecognized option '" + string(args[2]) + "'")
		return
	}
	if !printableWord(args[3]) {
		t.err("ERR " + strings.ToLower(string(args[2])) + " cannot contain spaces, newlines or special characters.")
		return
	}
	*at = string(args[3])
	t.ok()
}

func clientInfo(t *talk, _ [][]byte) {
	for _, c := range t.client.Server().Clients() {
		if c.ID == t.client.ID() {
			t.verbatim(t.describe(c))
			return
		}
	}
	t.verbatim("") // it is being closed
}

// describe is the line of CLIENT INFO and CLIENT LIST.
func (t *talk) describe(c netserver.ClientInfo) string {
	own := c.ID == t.client.ID()
	name, flags, more := "", "N", ""
	if own {
		name = t.name
		queued := -1
		if t.queue.open {
			queued, flags = len(t.queue.all), "x"
		}
		last := strings.ReplaceAll(t.lastName(), " ", "|")
		more = fmt.Sprintf(" multi=%d watch=%d cmd=%s user=%s redir=-1 resp=%d lib-name=%s lib-ver=%s",
			queued, len(t.watched), last, t.user(), t.version(), t.library, t.libraryVersion)
	}
	return fmt.Sprintf("id=%d addr=%s name=%s age=%d flags=%s db=0 sub=0 psub=0 ssub=0%s tot-net-in=%d tot-net-out=%d\n",
		c.ID, c.Remote, name, int(time.Since(c.Since).Seconds()), flags, more, c.BytesIn, c.BytesOut)
}

func clientList(t *talk, args [][]byte) {
	wanted := func(uint64) bool { return true }
	for i := 2; i < len(args); {
		switch {
		case equalFold(args[i], "type") && i+1 < len(args):
			if !equalFold(args[i+1], "normal") {
				wanted = func(uint64) bool { return false }
			}
			i += 2
		case equalFold(args[i], "id") && i+1 < len(args):
			ids := make(map[uint64]bool)
			for i++; i < len(args); i++ {
				id, ok := parseInt(args[i])
				if !ok || id < 1 {
					t.err("ERR Invalid client ID")
					return
				}
				ids[uint64(id)] = true
			}
			wanted = func(id uint64) bool { return ids[id] }
		default:
			t.err(errSyntax)
			return
		}
	}
	var all strings.Builder
	for _, c := range t.client.Server().Clients() {
		if wanted(c.ID) {
			all.WriteString(t.describe(c))
		}
	}
	t.verbatim(all.String())
}

// clientSwitch is one that nothing depends on.
func clientSwitch(t *talk, args [][]byte) {
	if equalFold(args[2], "on") || equalFold(args[2], "off") {
		t.ok()
		return
	}
	t.err(errSyntax)
}

func clientReply(t *talk, args [][]byte) {
	switch {
	case equalFold(args[2], "on"):
		t.mute, t.muted = muteNone, false
		t.rebase()
		t.ok()
	case equalFold(args[2], "off"):
		t.mute, t.muted = muteAll, true
	case equalFold(args[2], "skip"):
		if t.mute == muteNone {
			t.mute = muteNext
		}
	default:
		t.err(errSyntax)
	}
}

func whoAmI(t *talk, _ [][]byte) { t.text(t.user()) }

// help lists the subcommands of a command.
func help(t *talk, args [][]byte) {
	c := commands.find(args[0])
	lines := []string{strings.ToUpper(c.Name) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"}
	for _, sub := range c.Subs {
		lines = append(lines, strings.ToUpper(sub.Name[len(c.Name)+1:]), "    "+sub.Summary)
	}
	t.lines(lines...)
}
