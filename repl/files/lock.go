package files

import (
	"cmp"
	"context"
	"path/filepath"
)

// Lock makes everyone who calls it for the same file wait until unlock is called, or the process ends, so that a file can be
// read, and written anew with what was read and more. The file need not be there; its folder must. [Write] puts another file
// in its place, which is why its folder is what is locked; a name that is no regular file's, or another name of the folder,
// is locked by where it leads. The error is a *[NameError], or ctx's.
func Lock(ctx context.Context, name string) (unlock func(), err error) {
	t, err := resolve(name)
	if err != nil {
		return nil, &NameError{err}
	}
	dir, _ := filepath.Split(t.name)
	f, wait, err := lockFolder(cmp.Or(dir, "."))
	if err != nil {
		return nil, &NameError{err}
	}
	locked := make(chan error, 1)
	go func() { locked <- wait() }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, &NameError{err}
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { // a file must not be closed while somebody waits for its lock
			<-locked
			f.Close()
		}()
		return nil, ctx.Err()
	}
}
