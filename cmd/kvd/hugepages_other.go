//go:build !linux

package main

// hugePages does nothing: only on Linux is there something to do.
type hugePages struct{}

func (*hugePages) cover(uintptr) error { return nil }
