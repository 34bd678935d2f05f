package repl

import (
	"fmt"
	"time"
)

// progress draws a line on stderr that tells how far a command is. The zero value draws nothing.
type progress struct {
	s     *session // nil: draw nothing
	start time.Time
	last  time.Time
	total int64 // bytes there will be; 0: nobody knows
	drawn bool
}

// newProgress returns a bar that is drawn where stderr is a terminal.
func (s *session) newProgress(total int64) *progress {
	if !s.env.ErrTerminal || s.dumb() {
		return &progress{}
	}
	return &progress{s: s, start: time.Now(), last: time.Now(), total: total}
}

const progressInterval = 200 * time.Millisecond

// show draws the progress, if the last drawing is old enough.
func (p *progress) show(bytes int64, records int) {
	if p.s == nil || time.Since(p.last) < progressInterval {
		return
	}
	p.line(progressLines(bytes, p.total, records, time.Since(p.start))...)
}

// progressLines says how far it is after some time, in lines of which each is shorter than the one before; total bytes there
// will be, or 0.
func progressLines(bytes, total int64, records int, took time.Duration) (lines []string) {
	rate := size(int(float64(bytes)/took.Seconds())) + "/s"
	short := fmt.Sprintf("%d records, %s", records, size(int(bytes)))
	if total <= 0 || bytes <= 0 {
		return []string{short + ", " + rate, short, fmt.Sprint(records)}
	}
	done := min(1, float64(bytes)/float64(total))
	percent := fmt.Sprintf("%3.0f%%", 100*done)
	left := "days left"
	if rest := (1/done - 1) * float64(took); rest < float64(48*time.Hour) {
		left = fmt.Sprintf("%v left", time.Duration(rest).Round(time.Second))
	}
	bar := fmt.Sprintf("[%-*s] ", len(hashes), hashes[:int(done*float64(len(hashes)))])
	return []string{
		bar + percent + " " + short + ", " + rate + ", " + left,
		percent + " " + short + ", " + rate + ", " + left,
		percent + " " + short + ", " + left,
		percent + ", " + left,
		percent,
	}
}

// line draws the first of lines that fits, or what fits of the last.
func (p *progress) line(lines ...string) {
	if p.s == nil {
		return
	}
	p.last, p.drawn = time.Now(), true
	columns, _ := p.s.env.Size()
	text := lines[len(lines)-1]
	for _, l := range lines {
		if len(l) < columns {
			text = l
			break
		}
	}
	fmt.Fprintf(p.s.env.Err, "\r\x1b[K%s", text[:min(len(text), max(0, columns-1))])
}

const hashes = "##########"

// clear takes the line away.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.s.env.Err, "\r\x1b[K")
		p.drawn = false
	}
}
