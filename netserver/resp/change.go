package resp

import (
	"errors"
	"time"

	"kv/netserver"
	"kv/store"
)

// Commands on keys, run on the store: those that only read on keys as they are, the others on a change of them.

// read runs a command that only reads keys.
func (t *talk) read(cmd *Command, args [][]byte) {
	t.keys = cmd.appendKeys(cleared(t.keys), args)
	t.prepare(cmd, args)
	if len(t.keys) == 1 {
		t.call.keyspace = current{t.session}
	} else {
		t.entries = t.session.MGet(cleared(t.entries), t.keys)
		t.call.keyspace = snapshot{t.keys, t.entries}
	}
	cmd.run(&t.call)
	t.call = call{}
	t.releaseRoom()
}

// update runs a command that may write keys, all at one instant.
func (t *talk) update(cmd *Command, args [][]byte) {
	t.keys = cmd.appendKeys(cleared(t.keys), args)
	t.prepare(cmd, args)
	if len(t.keys) == 0 { // its arguments are wrong
		t.call.keyspace = snapshot{}
		cmd.run(&t.call)
	} else if err := t.apply(t.keys, t.change); err != nil {
		t.failApply(err)
	}
	t.call, t.changed = call{}, change{}
}

func (t *talk) prepare(cmd *Command, args [][]byte) {
	t.call = call{reply: &t.reply, cmd: cmd, args: args, limits: t.limits(), claim: t.claimRoom}
}

// apply applies a change of keys whose answer is written meanwhile. There is no answer if it returns an error.
func (t *talk) apply(keys [][]byte, change func(*store.Update) error) (err error) {
	for range 4 {
		t.restart()
		if _, err = t.session.Update(keys, change); !errors.Is(err, netserver.ErrNotHeld) {
			break
		}
		if err = t.out.Hold(t.lastName(), t.wanted, 0); err != nil { // may flush what is in out
			break
		}
		t.rebase()
	}
	t.releaseRoom()
	if t.long = t.send; t.muted || t.nested {
		t.long = nil
	}
	if err != nil {
		t.buf, t.failed = t.buf[:0], ""
		return err
	}
	if t.changed.expired > 0 {
		t.door.expired.Add(uint64(t.changed.expired))
	}
	return nil
}

// failApply answers the error of what had memory for its answer promised.
func (t *talk) failApply(err error) {
	t.out.Drop()
	if t.answered = errors.Is(err, netserver.ErrAnswered); !t.answered {
		t.rebase()
		t.fail(err)
	}
}

// restart has a change of keys begin from nothing.
func (t *talk) restart() {
	t.releaseRoom()
	t.buf, t.failed, t.abandon, t.long = t.buf[:0], "", nil, t.promiseLong
}

// claimMemory takes memory for the command that runs.
func (t *talk) claimMemory(n int) error {
	if err := t.client.Claim(n); err != nil {
		return err
	}
	t.claimed += n
	return nil
}

// releaseRoom gives it back.
func (t *talk) releaseRoom() {
	if t.claimed > 0 {
		t.client.Release(t.claimed)
		t.claimed = 0
	}
}

// promiseLong makes sure, in a change of keys, that there is memory for the answer with this string, and has it copied.
func (t *talk) promiseLong(v []byte) bool {
	t.promise(len(t.buf) + len(v) + valueExtra)
	return false
}

// promise makes sure, in a change of keys, that there is memory for an answer of size bytes. If there is not, the
// change is given up.
func (t *talk) promise(size int) {
	if t.abandon == nil && !t.muted {
		t.wanted = size
		t.abandon = t.out.Promise(t.lastName(), size, 0)
	}
}

// runCall runs the command in t.call as a change of keys.
func (t *talk) runCall(u *store.Update) error {
	t.restart()
	t.changed = change{Update: u}
	t.call.keyspace = &t.changed
	t.call.cmd.run(&t.call)
	t.changed.count()
	return t.abandon
}

// current are keys as they are: for a command that reads one.
type current struct{ session *store.Session }

func (k current) Get(key []byte) found { return found{copy: k.session.Get(key)} }

func (k current) Set(_, _ []byte, _ uint64) { panic("resp: a command that reads writes") }

func (k current) Delete([]byte) bool { panic("resp: a command that reads writes") }

func (k current) Expiry(e found) uint64 { return e.Expiry() }

func (k current) Now() uint64 { return uint64(time.Now().UnixMilli()) }

// snapshot are keys as they were together.
type snapshot struct {
	keys    [][]byte
	entries []*store.Entry
}

func (k snapshot) Get(key []byte) found {
	for i := range k.keys {
		if string(k.keys[i]) == string(key) {
			return found{copy: k.entries[i]}
		}
	}
	return found{}
}

func (k snapshot) Set(_, _ []byte, _ uint64) { panic("resp: a command that reads writes") }

func (k snapshot) Delete([]byte) bool { panic("resp: a command that reads writes") }

func (k snapshot) Expiry(e found) uint64 { return e.Expiry() }

func (k snapshot) Now() uint64 { return uint64(time.Now().UnixMilli()) }
