package terminal

import (
	"os"

	"golang.org/x/sys/windows"
)

// awaitInput returns with reading held. Nothing else is to be had here; lines are read by a Plain.
func (k *keys) awaitInput() error {
	k.reading.Lock()
	return nil
}

// stopJob does nothing: there are no jobs.
func stopJob() {}

func notifyContinued(chan<- os.Signal) {}

// silence has a console not show what is typed, until restore is called.
func silence(f *os.File) (restore func(), err error) {
	console := windows.Handle(f.Fd())
	var before uint32
	if err := windows.GetConsoleMode(console, &before); err != nil {
		return nil, err
	}
	if err := windows.SetConsoleMode(console, before&^windows.ENABLE_ECHO_INPUT); err != nil {
		return nil, err
	}
	return func() { windows.SetConsoleMode(console, before) }, nil
}
