package netserver

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

// complaintEvery is how much time there is at least between two warnings of one kind.
const complaintEvery = time.Second

// Complaint is one kind of warning about clients. Anyone who can connect can cause it, any number of times, so of each
// kind only so many are warnings; the others are logged for debugging alone, and counted in the next warning. The zero
// value is ready for use.
type Complaint struct {
	mu   sync.Mutex // guards what follows
	next time.Time  // when there may be a warning again
	left int        // how many were none since the last
}

// complaints are the kinds that a server has.
type complaints struct{ cutOff, handshake, foreign, slow, refused, login, noLogin, guessing Complaint }

// due reports whether one that comes now is a warning, and how many before it were none.
func (k *Complaint) due(now time.Time) (left int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Before(k.next) {
		k.left++
		return 0, false
	}
	left, k.left, k.next = k.left, 0, now.Add(complaintEvery)
	return left, true
}

// Complain logs a complaint of a door's own kind about the client at remote.
func (s *Server) Complain(k *Complaint, remote, msg string, args ...any) {
	s.complain(k, address(remote), msg, args...)
}

func (s *Server) complain(k *Complaint, remote net.Addr, msg string, args ...any) {
	args = append(args, "remote", remote.String())
	level := slog.LevelDebug
	if left, ok := k.due(time.Now()); ok {
		level = slog.LevelWarn
		if left > 0 {
			args = append(args, "left_out", left)
		}
	}
	s.config.Logger.Log(context.Background(), level, msg, args...)
}
