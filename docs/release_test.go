package docs_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"go/build"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRelease: `make release` has archives of programs that run, with what belongs to them; and who makes it again, in
// another folder gets the same bit for bit. Here for this platform alone. This module's packages are compiled anew for
// that, and with KV_SOAK all are, Go's own too, which takes minutes.
func TestRelease(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	const version, epoch = "v1.2.3-test", "1790000000"
	first, again := t.TempDir(), t.TempDir()
	makes(t, "release", "VERSION="+version, "SOURCE_DATE_EPOCH="+epoch, "PLATFORMS="+platform, "DIST="+first)

	copied := t.TempDir()
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == ".ci" || rel == "bin" || rel == "dist"):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(copied, rel), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return os.WriteFile(filepath.Join(copied, rel), data, 0o600) // other modes than those of a checkout
	}))
	compiledAnew(t, copied)
	tool, err := filepath.Abs(root + "/bin/release")
	require.NoError(t, err)
	cmd := exec.Command(tool, "-version", version, "-epoch", epoch, "-platforms", platform, again)
	cmd.Dir = copied
	cmd.Env = append(os.Environ(), "GOFLAGS=-ldflags=-w", "GOAMD64=v3", "TZ=Asia/Tokyo", "LC_ALL=C")
	if os.Getenv("KV_SOAK") != "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+t.TempDir())
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	name := "kv-" + version + "-" + runtime.GOOS + "-" + runtime.GOARCH
	files, err := os.ReadDir(first)
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, f := range files {
		one, err := os.ReadFile(filepath.Join(first, f.Name()))
		require.NoError(t, err)
		other, err := os.ReadFile(filepath.Join(again, f.Name()))
		require.NoError(t, err)
		require.True(t, string(one) == string(other), "%s differs from one made elsewhere", f.Name())
	}
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = first
	out, err = check.CombinedOutput()
	require.NoError(t, err, "%s", out)

	unpacked := unpack(t, filepath.Join(first, name+".tar.gz"), time.Unix(1790000000, 0))
	for _, want := range []string{
		"LICENSE", "README.md", "CHANGELOG.md", "man/kvc.1", "man/kvd.1", "man/kvc-set.1", "completions/kvc.bash", "completions/_kvd",
		"completions/kvc.fish", "docs/operations.md", "docs/deploy/systemd/kvd.service", "docs/deploy/prometheus/alerts.yaml",
		"protocol/testdata/vectors.txt",
	} {
		_, err := os.Stat(filepath.Join(unpacked, name, want))
		require.NoError(t, err)
	}
	linksStayWithin(t, filepath.Join(unpacked, name))
	for _, program := range []string{"kvc", "kvd"} {
		out, err := exec.Command(filepath.Join(unpacked, name, "bin", program), "--version").Output()
		require.NoError(t, err)
		require.Equal(t, program+" "+version+"\n", string(out))
	}
	var list struct {
		BomFormat  string
		Components []struct{ Name, Version, Purl string }
	}
	text, err := os.ReadFile(filepath.Join(first, name+".cdx.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &list))
	require.Equal(t, "CycloneDX", list.BomFormat)
	modules := make(map[string]string)
	for _, c := range list.Components {
		modules[c.Name] = c.Purl
	}
	require.Equal(t, "pkg:golang/std@"+strings.TrimPrefix(runtime.Version(), "go"), modules["std"])
	require.Contains(t, modules, "github.com/spf13/cobra")
	require.NotContains(t, modules, "github.com/stretchr/testify", "the tests' alone")
}

// linksStayWithin: the pages of an unpacked archive link to nothing that is not in it, and still to each other.
func linksStayWithin(t *testing.T, dir string) {
	links := 0
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(parse(path, string(text)).prose, -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			links++
			_, err := os.Stat(filepath.Join(filepath.Dir(path), target))
			require.NoError(t, err, "%s links to %s", path, m[1])
		}
		return nil
	}))
	require.Greater(t, links, 50)
	text, err := os.ReadFile(filepath.Join(dir, "docs", "architecture.md"))
	require.NoError(t, err)
	require.Contains(t, string(text), "| `store` |", "of a link to sources the text stays")
}

// compiledAnew sees to it that what was compiled of a copy of this module elsewhere is not used for it: another file,
// which changes nothing, makes each package another one to the build cache.
func compiledAnew(t *testing.T, module string) {
	packages := 0
	require.NoError(t, filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		p, err := build.ImportDir(path, 0)
		if err != nil || len(p.GoFiles) == 0 {
			return nil // no package, or one of tests alone
		}
		packages++
		return os.WriteFile(filepath.Join(path, "compiled_anew.go"), []byte("package "+p.Name+"\n"), 0o600)
	}))
	require.Greater(t, packages, 30)
}

// unpack unpacks an archive whose files are all of this time and root's, and writable for nobody else.
func unpack(t *testing.T, archive string, at time.Time) (dir string) {
	dir = t.TempDir()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	in := tar.NewReader(z)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return dir
		}
		require.NoError(t, err)
		require.True(t, h.ModTime.Equal(at), h.Name)
		require.Zero(t, h.Uid, h.Name)
		require.Zero(t, h.Mode&0o022, h.Name)
		path := filepath.Join(dir, h.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		data, err := io.ReadAll(in)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, data, h.FileInfo().Mode()))
	}
}
