package repl

import (
	"fmt"
	"io"
	"time"

	"kv/protocol/printable"
	"kv/repl/files"
)

func serverCommands() []*command {
	return []*command{
		{
			name:  "stats",
			short: "Print the server's figures.",
			long:  "One `name value` line each. With `--watch` it goes on until q or Ctrl-C: on a terminal a live view with rates, else a line at each interval; `--json` makes that JSON Lines.",
			examples: []example{
				{"stats", "all figures"},
				{"stats --json", "one flat object of numbers"},
				{"stats --watch --interval 500ms --count 3", "a live view, three times; without --count it goes on"},
			},
			build: func(f flags) func(*call) error {
				var watch bool
				interval := time.Second
				var count int
				f.bool(&watch, "watch", "", "go on until q or Ctrl-C")
				flagVar(f, &interval, "interval", "", "DURATION", "with --watch: how often", parsePositiveDuration)
				flagVar(f, &count, "count", "", "N", "with --watch: stop after N times", parseCount)
				return func(c *call) error {
					if watch {
						return c.watch(interval, count)
					}
					return c.stats()
				}
			},
		},
		{
			name:  "ping",
			short: "Print how long a request takes there and back.",
			examples: []example{
				{"ping", "one round trip"},
				{"ping --count 10", "ten, one after the other"},
			},
			build: func(f flags) func(*call) error {
				count := 1
				flagVar(f, &count, "count", "", "N", "how many", parseCount)
				return func(c *call) error { return c.ping(count) }
			},
		},
		{
			name:     "snapshot",
			short:    "Make the server write a snapshot to its disk now.",
			long:     "It prints the version up to which every write is in it, and its size.",
			examples: []example{{"snapshot", "returns when it is on the disk"}},
			build:    func(flags) func(*call) error { return (*call).snapshot },
		},
		{
			name: "backup", args: "FILE | -", min: 1, max: 1,
			short: "Write a consistent backup of the whole store to a local file.",
			long: "The backup is of one instant, while writes go on. The file appears under its name only when it is whole and on the disk. It is readable by its owner alone, unless it replaces one, whose mode stays. A FILE that is no regular file is written to: a device, a FIFO, `/dev/stdout`. `-` is stdout. " +
				"`kvd restore` reads backups.",
			examples: []example{
				{"backup monday.kvbackup", "into a file"},
				{"backup - | gzip > monday.kvbackup.gz", "through a pipe"},
			},
			build: func(flags) func(*call) error { return (*call).backup },
		},
		clusterCommand(),
	}
}

func (c *call) stats() error {
	kv, err := c.client()
	if err != nil {
		return err
	}
	stats, err := kv.Stats(c.ctx)
	if err != nil {
		return err
	}
	if c.opts.json {
		c.jsonStats(time.Time{}, stats)
		return nil
	}
	for _, s := range stats {
		fmt.Fprintf(c.out, "%s %d\n", printable.Line(s.Name), s.Value)
	}
	return nil
}

func (c *call) ping(count int) error {
	kv, err := c.client()
	if err != nil {
		return err
	}
	var all []time.Duration
	for range count {
		start := time.Now()
		if err := kv.Ping(c.ctx, []byte("kvc")); err != nil {
			return err
		}
		all = append(all, time.Since(start))
		if !c.opts.json {
			fmt.Fprintln(c.out, seconds(all[len(all)-1]))
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	if c.opts.json {
		b := append(c.scratch[:0], `{"round_trips_ms":[`...)
		for i, d := range all {
			if i > 0 {
				b = append(b, ',')
			}
			b = fmt.Appendf(b, "%.3f", float64(d)/float64(time.Millisecond))
		}
		c.scratch = append(b, "]}\n"...)
		c.out.Write(c.scratch)
	}
	return nil
}

func (c *call) snapshot() error {
	kv, err := c.client()
	if err != nil {
		return err
	}
	p, err := kv.Snapshot(c.ctx)
	switch {
	case err != nil:
		return err
	case c.opts.json:
		fmt.Fprintf(c.out, "{\"version\":%d,\"bytes\":%d}\n", p.Version, p.Bytes)
	default:
		fmt.Fprintf(c.out, "version %d\nbytes %d\n", p.Version, p.Bytes)
	}
	return nil
}

func (c *call) backup() error {
	kv, err := c.client()
	if err != nil {
		return err
	}
	if c.args[0].stdin() {
		if c.env.OutTerminal {
			return usagef("a backup is no sight for a terminal: name a file, or pipe it")
		}
		n, err := kv.Backup(c.ctx, c.out)
		if err == nil {
			err = c.flush()
		}
		if err == nil {
			c.notef("%s backed up", size(int(n)))
		}
		return err
	}
	name := string(c.key(0))
	var n int64
	err = files.Write(c.ctx, name, 0o600, func(w io.Writer) (err error) {
		n, err = kv.Backup(c.ctx, w)
		return err
	})
	if err != nil {
		return err
	}
	if c.opts.json {
		fmt.Fprintf(c.out, "{\"bytes\":%d}\n", n)
	}
	c.notef("%s backed up to %s", size(int(n)), name)
	return nil
}
