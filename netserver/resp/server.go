package resp

import (
	"net"
	"strconv"
	"time"

	"kv/protocol"
)

// The commands about the server.

func now(t *talk, _ [][]byte) {
	at := time.Now()
	t.array(2)
	t.text(strconv.FormatInt(at.Unix(), 10))
	t.text(strconv.Itoa(at.Nanosecond() / 1000))
}

func wait(t *talk, args [][]byte) {
	for i, what := range []string{errNotInt, "ERR timeout is not an integer or out of range"} {
		n, ok := parseInt(args[i+1])
		if !ok {
			t.err(what)
			return
		}
		if n < 0 {
			t.err([]string{"ERR value is out of range, must be positive", "ERR timeout is negative"}[i])
			return
		}
	}
	p := t.client.Server().Cluster()
	switch {
	case p.Cluster == 0:
		t.int(0)
	case p.Leader != p.Node:
		t.err("ERR WAIT cannot be used with replica instances.")
	default: // what was answered is on the disks of a majority, this one's or not
		voters := 0
		for _, m := range p.Members {
			if m.Role == protocol.Voter {
				voters++
			}
		}
		t.int(int64(voters / 2))
	}
}

func lastSave(t *talk, _ [][]byte) { t.int(lastSaveOf(t.figures())) }

// lastSaveOf is when the newest snapshot was made, in Unix seconds; 0: there is none.
func lastSaveOf(f map[string]uint64) int64 {
	if f["snapshot_bytes"] == 0 {
		return 0
	}
	return time.Now().Unix() - int64(f["snapshot_age_seconds"])
}

func save(t *talk, _ [][]byte) {
	if t.snapshot() {
		t.ok()
	}
}

func bgSave(t *talk, args [][]byte) {
	if len(args) > 2 || len(args) == 2 && !equalFold(args[1], "schedule") {
		t.err(errSyntax)
		return
	}
	if t.snapshot() {
		t.simple("Background saving started")
	}
}

func (t *talk) snapshot() bool {
	if _, _, err := t.client.Snapshot(); err != nil {
		t.fail(err)
		return false
	}
	return true
}

func shutdown(t *talk, args [][]byte) {
	save, noSave := false, false
	for _, word := range args[1:] {
		switch {
		case equalFold(word, "abort"):
			t.err("ERR No shutdown in progress.")
			return
		case equalFold(word, "nosave"):
			noSave = true
		case equalFold(word, "save"):
			save = true
		case equalFold(word, "now"), equalFold(word, "force"), equalFold(word, "safe"), equalFold(word, "failover"):
		default:
			t.err(errSyntax)
			return
		}
	}
	if save && noSave {
		t.err(errSyntax)
		return
	}
	if t.door.options.Shutdown == nil {
		t.err("ERR Errors trying to SHUTDOWN. Check logs.")
		return
	}
	t.door.options.Shutdown()
	t.end(nil)
}

// leads reports whether the server takes writes; if not, leader is who does, for clients, "" if nobody is known to.
func (t *talk) leads() (leads bool, leader string) {
	p := t.client.Server().Cluster()
	if p.Cluster == 0 || p.Leader == p.Node {
		return true, ""
	}
	for _, m := range p.Members {
		if m.ID == p.Leader {
			leader = m.Client
		}
	}
	return false, leader
}

func role(t *talk, _ [][]byte) {
	if leads, leader := t.leads(); !leads {
		host, port, _ := net.SplitHostPort(leader)
		n, _ := strconv.Atoi(port)
		state := "connected"
		if leader == "" {
			state = "connect"
		}
		t.array(5)
		t.text("slave")
		t.text(host)
		t.int(int64(n))
		t.text(state)
		t.int(int64(t.client.Server().Cluster().Committed))
		return
	}
	t.array(3)
	t.text("master")
	t.int(0)
	t.array(0)
}

func slowLogGet(t *talk, args [][]byte) {
	if len(args) > 3 {
		t.err("ERR wrong number of arguments for 'slowlog|get' command")
		return
	}
	if len(args) == 3 {
		if n, ok := parseInt(args[2]); !ok || n < -1 {
			t.err("ERR count should be greater than or equal to -1")
			return
		}
	}
	t.array(0)
}

func slowLogLen(t *talk, _ [][]byte) { t.int(0) }

func slowLogReset(t *talk, _ [][]byte) { t.ok() }

func functionFlush(t *talk, args [][]byte) {
	if len(args) > 3 || len(args) == 3 && !equalFold(args[2], "sync") && !equalFold(args[2], "async") {
		t.err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
		return
	}
	t.ok()
}
