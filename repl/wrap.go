package repl

import (
	"regexp"
	"strings"
)

// textWidth is how wide a paragraph may be; tableWidth how wide a line with columns may be, which in a pipe is not broken:
// there a program may read it.
func (s *session) textWidth() int {
	if !s.env.OutTerminal {
		return 80
	}
	columns, _ := s.env.Size()
	return max(10, min(columns, 100))
}

func (s *session) tableWidth() int {
	if !s.env.OutTerminal {
		return 1 << 20
	}
	return s.textWidth()
}

// wrapped breaks the paragraphs of a text at the width of the terminal, 80 columns where there is none.
func (s *session) wrapped(markdown string) string {
	var b strings.Builder
	for _, line := range strings.Split(strings.Trim(markdown, "\n"), "\n") {
		if strings.HasPrefix(line, "    ") {
			lead := leadOf.FindString(line)
			b.WriteString(hanging(lead, line[len(lead):], s.tableWidth()))
			continue
		}
		b.WriteString(hanging("", line, s.textWidth()))
	}
	return b.String()
}

// leadOf is the first column of a line that stands as it is.
var leadOf = regexp.MustCompile(`^ +(\S+( \S+)*  +)?`)

// hanging is text behind lead, broken at words so that no line is wider than width, where words are not. Lines after the first
// begin where text began; if that is too far to the right, all of text stands in lines of its own.
func hanging(lead, text string, width int) string {
	if len([]rune(lead+text)) <= width {
		return lead + text + "\n"
	}
	var b strings.Builder
	indent := len([]rune(lead))
	b.WriteString(lead)
	if indent > width/2 {
		indent = min(6, width/4)
		b.Reset()
		b.WriteString(strings.TrimRight(lead, " ") + "\n" + strings.Repeat(" ", indent))
	}
	column, first := indent, true
	for _, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case !first && column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		case !first:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column, first = column+n, false
	}
	return b.String() + "\n"
}
