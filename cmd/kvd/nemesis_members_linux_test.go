package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// changeMembers changes who belongs to the cluster until the clients have ended. No node loses what it has while
// another has not got all yet that it lost: that would be a majority's disks.
func (w *world) changeMembers() {
	for {
		if w.pause(500, 1000); w.ctx.Err() != nil {
			return
		}
		switch w.intN(3) {
		case 0:
			w.transfer(w.all[w.intN(len(w.all))])
		case 1:
			at := w.pick()
			m := w.all[at]
			before, _ := w.status(m)
			w.kill(m)
			w.empty(m)
			m.start()
			w.await(m, before.Node)
			w.free(at)
		case 2:
			for i, m := range w.all {
				if w.busy[i].TryLock() {
					if !m.running() {
						m.start()
						w.await(m, 0)
						w.free(i)
						w.remove()
						break
					}
					w.free(i)
				}
			}
		}
	}
}

func (w *world) empty(m *member) {
	require.NoError(w.t, os.RemoveAll(m.dir))
	require.NoError(w.t, os.Mkdir(m.dir, 0o755))
}

// await waits until a node is a voter, and another is a member no more; or until the clients have ended.
func (w *world) await(m *member, gone uint64) {
	for w.ctx.Err() == nil {
		s, err := w.status(m)
		voter := false
		for _, one := range s.Members {
			voter = voter || one.ID == s.Node && one.Role == protocol.Voter
			if one.ID == gone {
				err = fmt.Errorf("%d is a member", gone)
			}
		}
		if err == nil && voter {
			return
		}
		w.pause(50, 50)
	}
}

// remove has a node be a member no more, and ends it.
func (w *world) remove() {
	at := w.pick()
	defer w.free(at)
	m := w.all[at]
	s, err := w.status(m)
	if err != nil {
		return
	}
	for w.ctx.Err() == nil {
		if w.leads() == at {
			w.transfer(w.all[w.intN(len(w.all))])
		}
		w.change(protocol.Member{Change: protocol.MemberRemove, ID: s.Node})
		for i, other := range w.all { // one that does not lead may tell of the past
			now, err := w.status(other)
			if i != at && err == nil && now.Leader == now.Node &&
				!slices.ContainsFunc(now.Members, func(one protocol.ClusterMember) bool { return one.ID == s.Node }) {
				w.kill(m)
				w.empty(m)
				return
			}
		}
		w.pause(100, 100)
	}
}

// transfer has a node lead, if it can.
func (w *world) transfer(to *member) {
	if s, err := w.status(to); err == nil {
		w.change(protocol.Member{Change: protocol.MemberTransfer, ID: s.Node})
	}
}

// addresses are those of all nodes.
func (w *world) addresses() string {
	var all []string
	for _, m := range w.all {
		all = append(all, m.listen)
	}
	return strings.Join(all, ",")
}

// change asks whoever leads for a change, which may not be possible now.
func (w *world) change(q protocol.Member) {
	c, err := client.Dial(w.t.Context(), w.addresses(), w.all[0].options(3*time.Second))
	if err == nil {
		c.Member(w.t.Context(), q)
		c.Close()
	}
}
