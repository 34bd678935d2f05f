// Command release makes the archives of a release, the list of what is in each, and their checksums, in a folder. Run it in the
// project's own:
//
//	release -version v1.2.3 -epoch 1700000000 [-platforms linux/amd64,…] FOLDER
//
// What comes out depends on the sources, the version, the time and the Go toolchain alone, not on the machine, the
// folder or the day.
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// everywhere is where the programs are built for. Windows gets kvc: kvd's files are locked and synced as Unix does it.
const everywhere = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,freebsd/amd64,freebsd/arm64,openbsd/amd64,openbsd/arm64,windows/amd64,windows/arm64"

func main() {
	version := flag.String("version", "", "what --version says")
	epoch := flag.Int64("epoch", 0, "the time of all files, in seconds since 1970")
	platforms := flag.String("platforms", everywhere, "for which systems and processors")
	flag.Parse()
	if *version == "" || flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	r := release{version: *version, time: time.Unix(*epoch, 0).UTC(), out: flag.Arg(0)}
	if err := r.make(strings.Split(*platforms, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is what all archives have in common.
type release struct {
	version string
	time    time.Time
	out     string // the folder
	shared  []file // of every archive
}

// file is one of an archive.
type file struct {
	name string // with slashes
	mode os.FileMode
	data []byte
}

func (r *release) make(platforms []string) error {
	work, err := os.MkdirTemp("", "kv-release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.shared, err = r.documents(work); err != nil {
		return err
	}
	var made []string
	for _, platform := range platforms {
		system, processor, ok := strings.Cut(platform, "/")
		if !ok {
			return fmt.Errorf("%q is no platform such as linux/amd64", platform)
		}
		names, err := r.archive(system, processor, filepath.Join(work, system+"-"+processor))
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		made = append(made, names...)
		fmt.Println(names[0])
	}
	return r.sums(made)
}

// documents are the files that are the same for every platform: made by this machine's programs, and copied.
func (r *release) documents(work string) ([]file, error) {
	bin := filepath.Join(work, "host")
	if err := r.build(runtime.GOOS, runtime.GOARCH, bin, "kvc", "kvd"); err != nil {
		return nil, err
	}
	var all []file
	add := func(name, path string) error {
		data, err := os.ReadFile(path)
		all = append(all, file{name, 0o644, data})
		return err
	}
	for _, program := range []string{"kvc", "kvd"} {
		if out, err := exec.Command(filepath.Join(bin, program), "man", filepath.Join(work, "man")).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("man pages of %s: %w\n%s", program, err, out)
		}
		for shell, name := range map[string]string{"bash": program + ".bash", "zsh": "_" + program, "fish": program + ".fish"} {
			out, err := exec.Command(filepath.Join(bin, program), "completion", shell).Output()
			if err != nil {
				return nil, fmt.Errorf("completion of %s for %s: %w", program, shell, err)
			}
			all = append(all, file{"completions/" + name, 0o644, out})
		}
	}
	pages, err := filepath.Glob(filepath.Join(work, "man", "*.1"))
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		if err := add("man/"+filepath.Base(page), page); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md", "protocol/testdata/vectors.txt"} { // the last is a part of docs/protocol.md
		if err := add(name, name); err != nil {
			return nil, err
		}
	}
	// With their folders, so that links between them lead where they do in the sources.
	for _, pattern := range []string{"docs/*.md", "docs/deploy/*.md", "docs/deploy/*/*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if err := add(filepath.ToSlash(path), path); err != nil {
				return nil, err
			}
		}
	}
	keepLinks(all)
	return all, nil
}

// build makes programs for a platform, without what would tell of this machine, this folder or this checkout.
func (r *release) build(system, processor, into string, programs ...string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags",
		"-s -w -buildid= -X kv/cmd/internal/version.linked=" + r.version,
		"-o", into + string(filepath.Separator)}
	for _, p := range programs {
		args = append(args, "./cmd/"+p)
	}
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("go", args...)
	// This machine's habits are none of the release's.
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "GOFLAGS=") || strings.HasPrefix(e, "GOEXPERIMENT=")
	}), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+processor, "GOAMD64=v1", "GOARM64=v8.0", "GOFIPS140=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// archive makes the archive of a platform and the list of what is in its programs, and returns their names.
func (r *release) archive(system, processor, bin string) (names []string, err error) {
	programs, suffix := []string{"kvc", "kvd"}, ""
	if system == "windows" {
		programs, suffix = []string{"kvc"}, ".exe"
	}
	if err := r.build(system, processor, bin, programs...); err != nil {
		return nil, err
	}
	root := fmt.Sprintf("kv-%s-%s-%s", r.version, system, processor)
	files := slices.Clone(r.shared)
	var paths []string
	for _, p := range programs {
		path := filepath.Join(bin, p+suffix)
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, file{"bin/" + p + suffix, 0o755, data})
		paths = append(paths, path)
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	pack, name := tarball, root+".tar.gz"
	if system == "windows" {
		pack, name = zipped, root+".zip"
	}
	if err := r.write(name, func(f *os.File) error { return pack(f, root, r.time, files) }); err != nil {
		return nil, err
	}
	list := root + ".cdx.json"
	return []string{name, list}, r.write(list, func(f *os.File) error { return r.list(f, root, paths) })
}

func (r *release) write(name string, write func(*os.File) error) error {
	f, err := os.Create(filepath.Join(r.out, name))
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// sums writes the checksums, for `sha256sum --check`.
func (r *release) sums(names []string) error {
	slices.Sort(names)
	return r.write("SHA256SUMS", func(f *os.File) error {
		for _, name := range names {
			data, err := os.ReadFile(filepath.Join(r.out, name))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(f, "%x  %s\n", sha256.Sum256(data), name); err != nil {
				return err
			}
		}
		return nil
	})
}
