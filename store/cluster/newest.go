//go:build !kvformat1

package cluster

const formatNewest = formatSettings
