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
