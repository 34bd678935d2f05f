package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// page is a Markdown file of the project.
type page struct {
	path   string // from the root of the project
	prose  string // all but the fenced blocks, whose lines are empty here
	code   []span // inline code
	blocks []block
}

// span is a piece of inline code.
type span struct {
	line int
	text string
}

// block is a fenced block.
type block struct {
	line  int // of its first line, counted from 1
	kind  string
	lines []string
}

const root = ".."

// pages reads README.md, CHANGELOG.md, docs/*.md and docs/deploy/*.md.
func pages(t *testing.T) []page {
	paths, err := filepath.Glob(root + "/docs/*.md")
	require.NoError(t, err)
	paths = append(paths, root+"/README.md", root+"/CHANGELOG.md", root+"/docs/deploy/README.md")
	var all []page
	for _, p := range paths {
		text, err := os.ReadFile(p)
		require.NoError(t, err)
		rel, err := filepath.Rel(root, p)
		require.NoError(t, err)
		all = append(all, parse(rel, string(text)))
	}
	return all
}

var inlineCode = regexp.MustCompile("``[^`].*?``|`[^`\n]+`")

func parse(path, text string) page {
	p := page{path: path}
	var prose []string
	var open *block
	for i, line := range strings.Split(text, "\n") {
		kind, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && open == nil:
			open = &block{line: i + 2, kind: kind}
		case fence:
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.lines = append(open.lines, line)
		default:
			for _, c := range inlineCode.FindAllString(line, -1) {
				p.code = append(p.code, span{i + 1, strings.Trim(c, "` ")})
			}
			prose = append(prose, line)
			continue
		}
		prose = append(prose, "") // lines keep their numbers
	}
	p.prose = strings.Join(prose, "\n")
	return p
}

var (
	heading    = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *#*$`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	slugless   = regexp.MustCompile(`[^\p{L}\p{N}\p{Mn}_ -]`)
	htmlAnchor = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

// anchors are the places of p that a link can lead to, named as GitHub names them.
func (p page) anchors() map[string]bool {
	found := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(p.prose, -1) {
		text := linkText.ReplaceAllString(m[1], "$1")
		slug := strings.ReplaceAll(slugless.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
		unique := slug
		for n := 1; found[unique]; n++ {
			unique = slug + "-" + string(rune('0'+n))
		}
		found[unique] = true
	}
	for _, m := range htmlAnchor.FindAllStringSubmatch(p.prose, -1) {
		found[m[1]] = true
	}
	return found
}
