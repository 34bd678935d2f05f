package netserver

// Settle does at once what idle connections are made to do every few seconds.
func (s *Server) Settle() {
	s.settle() // takes note of what has come
	s.settle()
}
