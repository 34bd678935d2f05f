//go:build !linux

package vfs

import (
	"errors"
	"runtime"
)

func (osFS) SyncsAside() bool { return runtime.GOMAXPROCS(0) > 1 }

func (osFS) Room(string) (int64, error) { return 0, errors.ErrUnsupported }

func (osFile) Allocate(_, _ int64) error { return errors.ErrUnsupported }
