package cluster

import (
	"fmt"
	"runtime"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
)

// loop steps the core when time has passed, and when there is something that nobody else has told it.
func (n *Node) loop() {
	defer n.end()
	ticker := time.NewTicker(TickEvery)
	defer ticker.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	for {
		ticked := false
		select {
		case <-n.stop:
			return
		case <-ticker.C:
			ticked = true
		case <-n.wake:
			runtime.Gosched() // others that can run now may write or read too, and go with the same batch or round
		case <-due.C:
		}
		n.mu.Lock()
		n.step(ticked)
		if n.failed == nil {
			if n.due = n.core.Due(); n.due != 0 {
				due.Reset(max(0, n.due-n.core.clock()))
			}
		}
		failed, sent := n.failed, n.queued
		n.queued = false
		n.mu.Unlock()
		if sent {
			n.transport.Flush()
		}
		if failed != nil {
			n.err = failed
			return
		}
	}
}

// stepNow steps the core at once, if nobody does so just now, and else has the loop do it: who brings something that
// others wait for saves them a change of goroutines.
func (n *Node) stepNow() {
	if !n.mu.TryLock() {
		n.poke()
		return
	}
	n.step(false)
	failed := n.failed != nil
	sooner := false // the loop has to wait for less
	if !failed {
		at := n.core.Due()
		sooner = at != 0 && (n.due == 0 || at < n.due)
	}
	sent := n.queued
	n.queued = false
	n.mu.Unlock()
	if sent {
		n.transport.Flush()
	}
	if failed || sooner {
		n.poke()
	}
}

// step tells the core what has come in, and has done what it wants then. Called with mu held. A panic of the core, or
// of the library, is a broken invariant: the node ends (C9).
func (n *Node) step(ticked bool) {
	if n.failed != nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			err, ok := p.(error)
			if !ok {
				err = fmt.Errorf("%v", p)
			}
			n.failed = err
		}
	}()
	if ticked {
		n.core.Tick()
	}
	if n.failed = n.deliver(); n.failed != nil {
		return
	}
	n.work()
	n.noteStatus()
}

// work has done what the core wants: all that it wants now at once, so that a batch, and the word that the one before
// is committed, are one write to the log and one to each of the others.
func (n *Node) work() {
	var appends []*Append
	var applies []*Apply
	var send []*pb.Message
	for {
		w := n.core.Work()
		if w.Empty() {
			break
		}
		if w.Append != nil {
			appends = append(appends, w.Append)
		}
		if w.Apply != nil {
			applies = append(applies, w.Apply)
		}
		for _, m := range w.Send {
			if m.GetType() == pb.MsgSnap {
				n.streams.Go(func() { n.stream(m) })
			} else {
				send = append(send, m)
			}
		}
	}
	n.logQ.add(appends...)
	n.appQ.add(applies...)
	if len(send) > 0 {
		n.transport.Send(send)
		n.queued = true
	}
	if n.log.Wants() {
		select {
		case n.fetches <- struct{}{}:
		default:
		}
	}
}
