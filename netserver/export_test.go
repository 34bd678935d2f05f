package netserver

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
