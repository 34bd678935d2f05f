//go:build !(amd64 || arm64) || race

package table

const prefetches = false

func prefetch(uintptr) {}
