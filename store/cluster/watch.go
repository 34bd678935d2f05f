package cluster

import (
	"fmt"
	"time"
)

const (
	// diskSlow is how long a sync takes before a leader hands leadership to another: a majority whose disks are well goes on.
	diskSlow = time.Second
	// diskDead is how long it takes before this node gives up.
	diskDead = 10 * time.Second
)

// watch is what the loop knows of a disk that hangs.
type watch struct {
	since  time.Duration // since when the oldest append is the disk's
	handed time.Duration // when last; 0: never
	ticked time.Duration // when it was last looked for one
}

// stalled is how late a tick is where this process, or the machine, stood still meanwhile.
const stalled = 4 * TickEvery

// tickWatch looks for a sync that does not end. A disk that hangs does not fail: with it the leader would hold up all writes
// for as long as it answers heartbeats.
//
// Time in which this node did not run is not the disk's: a machine that is stopped and goes on, as one that is moved to
// another host, has not had its sync answered either. Were that the disk's fault, all nodes on one host would end at
// once.
func (c *Core) tickWatch() {
	now := c.clock()
	late := now - c.watch.ticked
	c.watch.ticked = now
	if len(c.appends) == 0 || c.appends[0].done {
		return
	}
	if late > stalled {
		c.watch.since = min(c.watch.since+late-TickEvery, now)
	}
	took := now - c.watch.since
	if took >= diskDead {
		panic(fmt.Errorf("the disk has not answered for %v", took))
	}
	if took >= diskSlow && c.leadTerm != 0 && (c.watch.handed == 0 || now-c.watch.handed >= diskSlow) {
		if c.Transfer(0) {
			c.counts.DiskHangs++
			c.watch.handed = now
			c.logger.Warn("the disk hangs: another node is to lead", "for", took)
		}
	}
}
