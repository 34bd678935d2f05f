// Package tool is what an operator does to a data folder that no process uses: see what is in it and what of that is
// damaged, repair it, and make one of a backup.
package tool

import (
	"cmp"
	"fmt"
	"io"

	"kv/store/vfs"
	"kv/store/wal/folder"
)

// Report says what a data folder holds.
type Report struct {
	Dir      string
	Files    []FileReport
	Problems []Problem
	Version  uint64 // the newest
}

// FileReport says what one file holds, as far as it can be read.
type FileReport struct {
	Name           string
	Bytes          int64
	Records        int64 // of a log: writes; of a snapshot: blocks
	Entries        int64 // values and deletions
	Oldest, Newest uint64
}

// Problem is a stretch of a file that can't be read.
type Problem struct {
	File   string
	Offset int64
	Bytes  int64 // 0: none are there that should be
	Torn   bool  // a torn tail, which the next start cuts off by itself: nothing that was promised is lost
	Detail string
	Kept   string // after Repair: the name of the copy of what the file was; empty: there is none
}

// Damaged reports whether there is a problem that keeps a store from starting.
func (r Report) Damaged() bool {
	for _, p := range r.Problems {
		if !p.Torn {
			return true
		}
	}
	return false
}

// Entries returns how many values and deletions the files hold.
func (r Report) Entries() (n int64) {
	for _, f := range r.Files {
		n += f.Entries
	}
	return n
}

// WriteTo writes the report for a person.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var n int64
	p := func(format string, args ...any) (err error) {
		m, err := fmt.Fprintf(w, format+"\n", args...)
		n += int64(m)
		return err
	}
	err := p("%s: %d files, newest version %d", r.Dir, len(r.Files), r.Version)
	for _, f := range r.Files {
		err = cmp.Or(err, p("  %-26s %12d bytes %10d records %10d entries, versions %d to %d",
			f.Name, f.Bytes, f.Records, f.Entries, f.Oldest, f.Newest))
	}
	for _, x := range r.Problems {
		what := "damaged"
		if x.Torn {
			what = "torn tail, never promised to anyone"
		}
		err = cmp.Or(err, p("%s, offset %d, %d bytes: %s: %s", x.File, x.Offset, x.Bytes, what, x.Detail))
		if x.Kept != "" {
			err = cmp.Or(err, p("  what the file was is in %s", x.Kept))
		}
	}
	if len(r.Problems) == 0 {
		err = cmp.Or(err, p("all of it can be read"))
	}
	return n, err
}

// Check reads all of a data folder that no process uses, verifies it and says what it found. It writes nothing. The
// error is for what keeps it from looking; what is wrong with the bytes is in the report.
func Check(fs vfs.FS, dir string) (Report, error) {
	lock, err := folder.LockToRead(fs, dir)
	if err != nil {
		return Report{}, err
	}
	defer lock.Close()
	x, err := inspect(fs, dir)
	if err != nil {
		return Report{}, err
	}
	return x.report, nil
}
