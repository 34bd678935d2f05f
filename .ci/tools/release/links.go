package main

import (
	"path"
	"regexp"
	"strings"
)

// markdownLink is a link: its text, and where it leads.
var markdownLink = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]+)\)`)

// keepLinks leaves in Markdown pages the links that lead to other files of the archive, within their page or to the
// web. Of those to sources, which are not in the archive, it leaves the text.
func keepLinks(files []file) {
	there := make(map[string]bool)
	for _, f := range files {
		for name := f.name; name != "."; name = path.Dir(name) { // its folders, too
			there[name] = true
		}
	}
	for i, f := range files {
		if path.Ext(f.name) != ".md" {
			continue
		}
		parts := strings.Split(string(f.data), "```") // prose and fenced blocks in turns
		for n := 0; n < len(parts); n += 2 {
			parts[n] = markdownLink.ReplaceAllStringFunc(parts[n], func(link string) string {
				m := markdownLink.FindStringSubmatch(link)
				target, _, _ := strings.Cut(m[2], "#")
				if target == "" || strings.Contains(target, "://") || there[path.Join(path.Dir(f.name), target)] {
					return link
				}
				return m[1]
			})
		}
		files[i].data = []byte(strings.Join(parts, "```"))
	}
}
