package repl

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kv/protocol"
	"kv/repl/text"
)

// watch shows figures again and again, until Ctrl-C, or count times where that is above 0.
func (c *call) watch(interval time.Duration, count int) error {
	kv, err := c.client()
	if err != nil {
		return err
	}
	view := &view{s: c.session}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		start := time.Now()
		stats, err := kv.Stats(c.ctx)
		if c.ctx.Err() != nil {
			return nil // Ctrl-C is how it ends
		}
		if err != nil {
			return err
		}
		view.add(start, time.Since(start), stats)
		switch {
		case c.opts.json:
			c.jsonStats(start, stats)
		case c.env.OutTerminal:
			view.draw()
		default:
			view.printLine()
		}
		if err := c.flush(); err != nil || n == count {
			return err
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return nil
		}
	}
}

// view is what watch has seen so far.
type view struct {
	s      *session
	at     time.Time
	before []protocol.Stat
	rows   []row
	drawn  int // lines on the screen
}

// row is one figure of the view.
type row struct {
	name    string
	value   float64
	unit    string
	history []float64 // oldest first
}

const viewHistory = 30

// add takes the figures of one moment.
func (v *view) add(at time.Time, roundTrip time.Duration, stats []protocol.Stat) {
	last := func(name string) (uint64, bool) {
		i := slices.IndexFunc(v.before, func(s protocol.Stat) bool { return s.Name == name })
		if i < 0 {
			return 0, false
		}
		return v.before[i].Value, true
	}
	for _, st := range stats {
		if f, _ := protocol.FigureOf(st.Name); !f.Counter {
			v.set(st.Name, float64(st.Value), "")
			continue
		}
		rate := 0.0
		if before, ok := last(st.Name); ok && st.Value >= before {
			rate = float64(st.Value-before) / at.Sub(v.at).Seconds()
		}
		v.set(st.Name, rate, "/s")
	}
	v.set("round_trip", float64(roundTrip)/float64(time.Millisecond), " ms")
	v.at, v.before = at, stats
}

func (v *view) set(name string, value float64, unit string) {
	i := slices.IndexFunc(v.rows, func(r row) bool { return r.name == name })
	if i < 0 {
		i = len(v.rows)
		v.rows = append(v.rows, row{name: name, unit: unit})
	}
	r := &v.rows[i]
	r.value = value
	if r.history = append(r.history, value); len(r.history) > viewHistory {
		r.history = r.history[1:]
	}
}

// draw draws the view over the one before.
func (v *view) draw() {
	columns, rows := v.s.env.Size()
	out := v.s.out
	if v.drawn > 0 {
		fmt.Fprintf(out, "\x1b[%dA", v.drawn)
	}
	v.drawn = 0
	line := func(s string) {
		if r := []rune(s); len(r) > columns-1 {
			s = string(r[:columns-1])
		}
		fmt.Fprintf(out, "\r%s\x1b[K\n", s)
		v.drawn++
	}
	line(v.at.Format(time.TimeOnly) + "  (Ctrl-C ends it)")
	for _, r := range v.rows {
		if v.drawn == rows-1 {
			break
		}
		line(fmt.Sprintf("%-24s %14s%-3s %s", printable(r.name), figure(r.value), r.unit, sparkline(r.history)))
	}
}

// printLine prints the view as one line, for a pipe.
func (v *view) printLine() {
	b := v.at.UTC().AppendFormat(v.s.scratch[:0], time.RFC3339)
	for _, r := range v.rows {
		name := text.AppendField(nil, []byte(r.name))
		b = fmt.Appendf(b, " %s=%s%s", name, figure(r.value), strings.TrimSpace(r.unit))
	}
	v.s.scratch = append(b, '\n')
	v.s.out.Write(v.s.scratch)
}

// figure is a number without digits that nobody needs.
func figure(f float64) string {
	if f == float64(int64(f)) {
		return strconv.FormatInt(int64(f), 10)
	}
	if f >= 100 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

var sparks = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values between the least and the greatest of them.
func sparkline(values []float64) string {
	least, most := slices.Min(values), slices.Max(values)
	var b strings.Builder
	for _, f := range values {
		i := 0
		if most > least {
			i = int((f - least) / (most - least) * float64(len(sparks)-1))
		}
		b.WriteRune(sparks[i])
	}
	return b.String()
}

// jsonStats prints figures as a flat JSON object, with a time unless that is zero.
func (s *session) jsonStats(at time.Time, stats []protocol.Stat) {
	b := append(s.scratch[:0], '{')
	if !at.IsZero() {
		b = fmt.Appendf(b, "%q:%q,", "time", at.UTC().Format(time.RFC3339Nano))
	}
	for i, st := range stats {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(text.AppendJSON(b, []byte(st.Name)), ':')
		b = strconv.AppendUint(b, st.Value, 10)
	}
	s.scratch = append(b, "}\n"...)
	s.out.Write(s.scratch)
}
