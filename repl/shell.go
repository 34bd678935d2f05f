package repl

import "context"

func (s *session) shell(ctx context.Context) error { return nil }
