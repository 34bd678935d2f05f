//go:build !linux

package vfs

import "runtime"

func (osFS) SyncsAside() bool { return runtime.GOMAXPROCS(0) > 1 }
