package netserver

import "time"

// DelayNothing has the server treat failed logins as if too many were delayed already, until undo is called.
func (s *Server) DelayNothing() (undo func()) {
	for range maxDelayed {
		s.delayed <- struct{}{}
	}
	return func() {
		for range maxDelayed {
			<-s.delayed
		}
	}
}

// Settle does at once what idle connections are made to do every few seconds.
func (s *Server) Settle() {
	s.settle() // takes note of what has come
	s.settle()
}

// LeaveNobody has the server close no connection, when it drains, since nothing comes on it, or since it has taken long.
func (s *Server) LeaveNobody() { s.quiet, s.leave = time.Hour, time.Hour }

// WithPatience returns c with another time for which answers wait for memory.
func (c Config) WithPatience(d time.Duration) Config {
	c.patience = d
	return c
}

// HoldOutput takes n bytes of what there is for answers, until release.
func (s *Server) HoldOutput(n int64) (release func()) {
	if !s.output.take(n) {
		panic("there are not so many")
	}
	return func() { s.output.give(n) }
}

// FillSockets sends rubbish to every client until its socket takes no more, and returns how many bytes that were.
func (s *Server) FillSockets() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.transport.(*socket).raw.Control(func(fd uintptr) {
			for rubbish := make([]byte, 64<<10); len(rubbish) > 0; {
				sent, err := writeFD(int(fd), rubbish)
				if n += sent; err != nil {
					return
				}
				if sent == 0 { // less may go still
					rubbish = rubbish[:len(rubbish)/2]
				}
			}
		})
	}
	return n
}
