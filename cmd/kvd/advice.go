package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// advice is what to do about an error that the system has words for, but no advice; empty: nothing is known.
func advice(err error) string {
	var network *net.OpError
	var path *fs.PathError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return ": another process listens there, or the address is named twice; port 0 takes a free one"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return ": this machine does not have the address"
	case !errors.Is(err, fs.ErrPermission):
	case errors.As(err, &network):
		return ": a port below 1024 needs CAP_NET_BIND_SERVICE; take a higher one"
	case errors.As(err, &path):
		if owner := ownerOf(path.Path); owner != "" {
			return fmt.Sprintf(" (%s, and this process is of user %d): give it to that user (chown -R), or run kvd as its owner", owner, os.Geteuid())
		}
	}
	return ""
}

// ownerOf says whose a file is or, where it is not there or can't be looked at, the folder that it would be in.
func ownerOf(path string) string {
	info, err := os.Lstat(path)
	for err != nil && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		info, err = os.Lstat(path)
	}
	if err != nil {
		return ""
	}
	system, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s is of user %d, mode %#o", path, system.Uid, info.Mode().Perm())
}
