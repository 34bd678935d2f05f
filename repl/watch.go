package repl

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kv/protocol"
	"kv/protocol/jsonform"
	"kv/protocol/printable"
	"kv/repl/terminal"
	"kv/repl/text"
)

// watch shows figures again and again, until q or Ctrl-C, or count times where that is above 0.
func (c *call) watch(interval time.Duration, count int) error {
	kv, err := c.client()
	if err != nil {
		return err
	}
	view := &view{s: c.session}
	drawn := c.env.OutTerminal && !c.opts.json && !c.dumb()
	resized := make(chan os.Signal, 1)
	var keys <-chan rune
	if drawn {
		notifyResized(resized)
		defer signal.Stop(resized)
		var stop func()
		if keys, stop, err = c.keyPresses(); err != nil {
			return err
		}
		defer stop()
	}
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
		case drawn:
			view.draw()
		default:
			view.printLine()
		}
		if err := c.flush(); err != nil || n == count {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-tick.C:
				waiting = false
			case <-resized:
				view.draw()
				if err := c.flush(); err != nil {
					return err
				}
			case r := <-keys:
				if r == 'q' || r == 'Q' || r == terminal.Interrupt {
					return nil
				}
			case <-c.ctx.Done():
				return nil
			}
		}
	}
}

// keyPresses returns the keys that are pressed from now on, until stop is called.
func (c *call) keyPresses() (_ <-chan rune, stop func(), err error) {
	next := c.pressed
	restore := func() {}
	if in, ok := c.env.In.(*os.File); next == nil && ok && c.env.InTerminal {
		keys, err := terminal.OpenKeys(in)
		if err != nil {
			return nil, nil, err
		}
		next, restore = keys.Next, keys.Close
	}
	if next == nil {
		return nil, restore, nil
	}
	ctx, cancel := context.WithCancel(c.ctx)
	pressed := make(chan rune)
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			r, err := next(ctx)
			if err != nil {
				return
			}
			select {
			case pressed <- r:
			case <-ctx.Done():
				return
			}
		}
	})
	return pressed, func() {
		cancel()
		reading.Wait()
		restore()
	}, nil
}

// view is what watch has seen so far.
type view struct {
	s      *session
	at     time.Time
	before []protocol.Stat
	rows   []row
	drawn  int // lines on the screen

	columns, rowsThen int // the window's size when they were drawn
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

// draw draws the view over the one before, and where the window has another size now, on an empty screen.
func (v *view) draw() {
	columns, rows := v.s.env.Size()
	out := v.s.out
	switch {
	case v.columns != 0 && (v.columns != columns || v.rowsThen != rows):
		out.WriteString("\x1b[H\x1b[2J")
	case v.drawn > 0:
		fmt.Fprintf(out, "\x1b[%dA\r", v.drawn)
	}
	lines := v.lines(columns, rows)
	for _, line := range lines {
		fmt.Fprintf(out, "%s\x1b[K\n", line)
	}
	out.WriteString("\x1b[J")
	v.columns, v.rowsThen, v.drawn = columns, rows, len(lines)
}

// The parts of a line of the view.
const (
	viewNames  = 24 // columns for names; fewer where all together have fewer
	viewValues = 12
)

// viewAlways are the figures that are shown though they are 0.
var viewAlways = []string{"keys", "get_ops", "set_ops", "connections"}

// lines is the view in a window of a size, whose last line stays free. Where there is no room for all figures, those go first
// that have been 0 all the time.
func (v *view) lines(columns, height int) []string {
	all := v.rows
	room := max(1, height-2)
	if len(all) > room {
		all = slices.DeleteFunc(slices.Clone(all),
			func(r row) bool { return slices.Max(r.history) == 0 && !slices.Contains(viewAlways, r.name) })
	}
	left := 0
	if len(all) > room {
		room = max(1, room-1)
		left = len(all) - room
		all = all[:room]
	}
	names := max(1, min(viewNames, columns-viewValues-2))
	lines := []string{v.at.Format(time.TimeOnly) + "  (q or Ctrl-C ends it)"}
	for _, r := range all {
		line := fmt.Sprintf("%-*.*s %*s", names, names, printable.Line(r.name), viewValues, r.human())
		if spare := columns - names - viewValues - 4; spare > 4 {
			line += "  " + sparkline(r.history[max(0, len(r.history)-spare):])
		}
		lines = append(lines, line)
	}
	if left > 0 {
		lines = append(lines, fmt.Sprintf("and %d more: stats prints all", left))
	}
	for i, line := range lines {
		if r := []rune(line); len(r) > columns-1 {
			lines[i] = string(r[:max(0, columns-1)])
		}
	}
	return lines[:min(len(lines), max(1, height-1))]
}

// human is the value as a person reads it.
func (r row) human() string {
	name, f := r.name, r.value
	switch {
	case name == "sync_policy" && f < float64(len(syncPolicies)):
		return syncPolicies[int(f)]
	case name == "read_only":
		return map[bool]string{false: "no", true: "yes"}[f != 0]
	case strings.HasSuffix(name, "_seconds"):
		return (time.Duration(f) * time.Second).String()
	case strings.HasSuffix(name, "_bytes") || strings.HasPrefix(name, "bytes_"):
		return size(int(f)) + r.unit
	}
	for _, u := range []struct {
		from, is float64
		name     string
	}{{1e12, 1e12, "T"}, {1e9, 1e9, "G"}, {1e6, 1e6, "M"}, {1e4, 1e3, "k"}} {
		if f >= u.from {
			return strconv.FormatFloat(f/u.is, 'f', 2, 64) + " " + u.name + r.unit
		}
	}
	return figure(f) + r.unit
}

// syncPolicies are the values of the figure sync_policy.
var syncPolicies = []string{"no disk", "never", "interval", "always"}

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
		b = append(jsonform.AppendBytes(b, []byte(st.Name)), ':')
		b = strconv.AppendUint(b, st.Value, 10)
	}
	s.scratch = append(b, "}\n"...)
	s.out.Write(s.scratch)
}
