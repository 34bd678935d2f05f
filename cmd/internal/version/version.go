// Package version says which version of the project a program was built from.
package version

import (
	"cmp"
	"runtime/debug"
)

// linked is set by the Makefile and the Dockerfile, by the linker's option -X.
var linked string

// String returns the version: the one that was given to the build; else that of the module, if the go command knows it, as
// after `go install` or in a checkout; else the revision; else that nothing is known.
func String() string {
	info, _ := debug.ReadBuildInfo()
	return cmp.Or(linked, built(info))
}

// built returns the version that the go command wrote into the program.
func built(info *debug.BuildInfo) string {
	if info == nil {
		return unknown
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	setting := make(map[string]string)
	for _, s := range info.Settings {
		setting[s.Key] = s.Value
	}
	revision := setting["vcs.revision"]
	if revision == "" {
		return unknown
	}
	v := "devel-" + revision[:min(len(revision), 12)]
	if setting["vcs.modified"] == "true" {
		v += "+dirty"
	}
	return v
}

const unknown = "devel (unknown revision)"
