package netserver_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/netserver/nettest"
	"kv/protocol"
	"kv/store"
)

// startHeld starts a server whose disk is held until release is called.
func startHeld(t *testing.T) (s *nettest.Server, j *journal, release func()) {
	j = &journal{}
	s = nettest.Start(t, nettest.Options{Store: store.Options{Journal: j}})
	return s, j, j.hold()
}

// sendHeld sends a SET with this id, and returns once its answer waits for the disk, which it does without a workspace.
func sendHeld(s *nettest.Server, c *nettest.Conn, id uint32) {
	before := s.Stat("bytes_in")
	c.Send(setOf(id))
	s.Await("bytes_in", before+uint64(len(setOf(id))))
	s.AwaitRequests()
}

// Who waits for a disk holds no memory for that, however many there are, and is answered when the disk is done.
func TestAnswersArePending(t *testing.T) {
	s, _, release := startHeld(t)
	var all []*nettest.Conn
	for i := range 200 {
		c := s.Dial(t)
		c.Send(setOf(uint32(i)))
		all = append(all, c)
	}
	s.Await("bytes_in", uint64(len(all)*len(setOf(1))))
	s.AwaitRequests()
	release()
	for i, c := range all {
		c.Expect(protocol.OpSet, protocol.StatusOK, uint32(i))
	}
}

// What comes behind a pending answer is answered behind it.
func TestNothingOvertakesAPendingAnswer(t *testing.T) {
	s, _, release := startHeld(t)
	c := s.Dial(t)
	sendHeld(s, c, 1)
	c.Send(ping(2, "x"), setOf(3))
	s.Await("bytes_in", uint64(len(setOf(1))+len(ping(2, "x"))+len(setOf(3))))
	release()
	c.Expect(protocol.OpSet, protocol.StatusOK, 1)
	c.Expect(protocol.OpPing, protocol.StatusOK, 2)
	c.Expect(protocol.OpSet, protocol.StatusOK, 3)
}

// Where the disk fails, the answers that wait for it become errors.
func TestPendingAnswersFail(t *testing.T) {
	s, j, release := startHeld(t)
	var all []*nettest.Conn
	for i := range 100 {
		c := s.Dial(t)
		c.Send(setOf(uint32(i)))
		all = append(all, c)
	}
	s.Await("bytes_in", uint64(len(all)*len(setOf(1))))
	s.AwaitRequests()
	j.fail()
	release()
	for i, c := range all {
		c.Expect(protocol.OpSet, protocol.StatusUnavailable, uint32(i))
		c.Do(ping(1000, "still here"))
	}
}

// A client that ends while its answer is pending gets that, if it still listens; and the server goes on if it does not.
func TestClientsEndWhileAnswersArePending(t *testing.T) {
	for _, fails := range []bool{false, true} {
		s, j, release := startHeld(t)
		listens, gone := s.Dial(t), s.Dial(t)
		sendHeld(s, listens, 1)
		sendHeld(s, gone, 2)
		listens.CloseWrite()
		gone.Abort()
		if fails {
			j.fail()
		}
		release()
		status := protocol.StatusOK
		if fails {
			status = protocol.StatusUnavailable
		}
		listens.Expect(protocol.OpSet, status, 1)
		listens.ExpectClosed()
		s.AwaitConnections(0)
	}
}

// A server that ends sends the answers that are pending.
func TestPendingAnswersAreSentAtTheEnd(t *testing.T) {
	s, _, release := startHeld(t)
	c, asks := s.Dial(t), s.Dial(t)
	greet(asks, true)
	sendHeld(s, c, 1)
	sendHeld(s, asks, 2)
	ended := make(chan struct{})
	go func() { s.Shutdown(); close(ended) }()
	require.Eventually(t, func() bool { // it takes no connections any more
		c, err := net.Dial(s.Network, s.Addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	}, nettest.Timeout, time.Millisecond)
	release()
	require.Equal(t, done, nextWord(t, c, 1))
	c.ExpectClosed()
	require.Equal(t, done, nextWord(t, asks, 2))
	require.Equal(t, goodbye, nextWord(t, asks, 0))
	<-ended
}

// An answer for which the socket has no room when it may leave is sent once the client reads.
func TestAPendingAnswerWaitsForASlowClient(t *testing.T) {
	s, _, release := startHeld(t)
	c := s.Dial(t)
	sendHeld(s, c, 1)
	rubbish := s.Server.FillSockets()
	release()
	_, err := io.CopyN(io.Discard, c, int64(rubbish))
	require.NoError(t, err)
	c.Expect(protocol.OpSet, protocol.StatusOK, 1)
	c.Do(ping(2, "still here"))
}
