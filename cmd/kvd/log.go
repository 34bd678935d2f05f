package main

import (
	"log/slog"
	"os"

	"golang.org/x/term"
)

// newLogger logs text where a person reads it, and JSON elsewhere.
func newLogger(f *os.File) *slog.Logger {
	if term.IsTerminal(int(f.Fd())) {
		return slog.New(slog.NewTextHandler(f, nil))
	}
	return slog.New(slog.NewJSONHandler(f, nil))
}
