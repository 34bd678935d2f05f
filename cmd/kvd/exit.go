package main

import (
	"errors"

	"kv/store/vfs"
	"kv/store/wal/folder"
	"kv/store/wal/tool"
)

// The exit codes of kvd, which are promises; what each means is in exitMeanings.
const (
	exitDone    = iota
	exitDamaged // also what every health check of a container takes for "unhealthy"
	exitUsage
	exitListen
	exitInUse
	exitFiles
	exitEnded
)

// exitMeanings is what docs/operations.md and the man pages say of each code.
var exitMeanings = []string{
	exitDone:    "done; of the server: ended in order",
	exitDamaged: "a data folder or a backup is damaged; of `kvd health`: the server is not ready",
	exitUsage:   "wrong usage: an option, a variable, or a file that one of them names",
	exitListen:  "an address can't be listened on: taken, or not this machine's",
	exitInUse:   "another process uses the data folder",
	exitFiles:   "a data folder or a file can't be read or written, stdout too, or it is none of a store",
	exitEnded:   "the server ran, and then could accept no connections, or ended with writes that are not on disk, or could be no replica of its cluster any more",
}

// exitError is an error with the exit code that it asks for.
type exitError struct {
	code int
	error
}

func (e exitError) Unwrap() error { return e.error }

// failed gives err, unless it is nil, its exit code.
func failed(code int, err error) error {
	if err == nil {
		return nil
	}
	return exitError{code, err}
}

// dataFailed gives err, unless it is nil, the exit code for what is wrong with a data folder.
func dataFailed(err error) error {
	var damage *folder.DamageError
	switch {
	case errors.As(err, new(exitError)):
		return err
	case errors.As(err, &damage), errors.Is(err, tool.ErrNotWhole):
		return failed(exitDamaged, err)
	case errors.Is(err, vfs.ErrLocked):
		return failed(exitInUse, err)
	}
	return failed(exitFiles, err)
}

// exitCode is the code to end with. An error without one is of the command line.
func exitCode(err error) int {
	var e exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &e):
		return e.code
	}
	return exitUsage
}
