package repl

import (
	"errors"
	"fmt"
	"os"
	"time"

	"kv/protocol"
	"kv/repl/files"
	"kv/repl/load"
	"kv/repl/text"
)

func moveCommands() []*command {
	return []*command{
		{
			name: "import", args: "FILE | -", min: 1, max: 1,
			short: "Store the records of a file, or of stdin.",
			long: "One record a line in the text form (`help escaping`): key, TAB, value, and where it expires TAB and the expiry in Unix milliseconds. With `--json` the input is JSON Lines: " +
				"objects with `key`, `value` and, where it expires, `expiry`, as export writes them with a `version`, which is not used; another member is a wrong line. Bytes that are not UTF-8 are `{\"base64\": \"…\"}`. " +
				"A record that has expired already is deleted. The records go in batches, each applied whole or not at all. The import stops at the first line that is wrong " +
				"(its batch and what comes after it is not sent) and at the first batch that the server refuses; the report on stderr says which lines were applied, and which were skipped.",
			examples: []example{
				{"import records.txt", "a file in the text form"},
				{"export | kvc --addr $other import -", "from one server to another"},
				{"import --json records.jsonl", "JSON Lines"},
				{"import --keep-going records.txt", "skip what is wrong, and say so"},
			},
			build: func(f flags) func(*call) error {
				var keepGoing bool
				f.bool(&keepGoing, "keep-going", "", "skip lines that are wrong and batches that are refused; the exit code tells of the first")
				end := terminator(f)
				return func(c *call) error { return c.importRecords(keepGoing, *end) }
			},
		},
		{
			name: "export", args: "[PREFIX]", min: 0, max: 1, keys: firstKey,
			short: "Print all records, or those whose keys begin with a prefix.",
			long:  "In the text form, or with `--json` as JSON Lines, as import reads them: with the expiry where there is one. A key that is there all the time is printed exactly once.",
			examples: []example{
				{"export > records.txt", "all of it"},
				{"export user: --json", "what begins with user:, as JSON Lines"},
			},
			build: func(f flags) func(*call) error {
				end := terminator(f)
				return func(c *call) error { return c.exportRecords(*end) }
			},
		},
		benchCommand(),
	}
}

func (c *call) importRecords(keepGoing bool, end byte) error {
	in := c.env.In
	total := int64(0)
	if c.args[0].stdin() {
		if err := c.mayReadStdin(); err != nil {
			return err
		}
	} else {
		name := string(c.key(0))
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			total = info.Size()
		}
		file, err := files.Open(c.ctx, name)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	bar := c.newProgress(total)
	start := time.Now()
	r, err := load.Import(c.ctx, kv, newInput(c.ctx, in), load.ImportOptions{
		JSON: c.opts.json, End: end, KeepGoing: keepGoing,
		Wrong: func(err error) {
			bar.clear()
			c.complain(err)
		},
		Progress: func(r load.ImportReport) { bar.show(r.Bytes, r.Applied) },
	})
	bar.clear()
	if syntax := (*text.SyntaxError)(nil); errors.As(err, &syntax) {
		err = fileError{err}
	}
	c.notef("%d records applied of %d lines, %s in %s (%.0f records/s)",
		r.Applied, r.Lines, size(int(r.Bytes)), seconds(time.Since(start)), float64(r.Applied)/time.Since(start).Seconds())
	if err != nil || r.Skipped > 0 {
		c.notef("applied: lines %v", r.Ranges)
	}
	if r.Skipped > 0 {
		c.notef("skipped: lines %v", r.Left)
	}
	if len(r.Unknown) > 0 {
		c.notef("unknown: lines %v may have been applied or not", r.Unknown)
	}
	if c.opts.json {
		fmt.Fprintf(c.out, "{\"lines\":%d,\"bytes\":%d,\"applied\":%d,\"skipped\":%d}\n", r.Lines, r.Bytes, r.Applied, r.Skipped)
	}
	if err == nil && r.First != nil {
		return reported{fileOrRefused(r.First)}
	}
	return err
}

// fileOrRefused gives an error of an import the kind that its exit code needs.
func fileOrRefused(err error) error {
	if syntax := (*text.SyntaxError)(nil); errors.As(err, &syntax) {
		return fileError{err}
	}
	return err
}

func (c *call) exportRecords(end byte) error {
	kv, err := c.client()
	if err != nil {
		return err
	}
	var prefix []byte
	if len(c.args) > 0 {
		prefix = c.key(0)
	}
	bar := c.newProgress(0)
	if c.env.OutTerminal {
		bar = &progress{}
	}
	defer bar.clear()
	var records int
	var bytes int64
	err = load.Export(c.ctx, kv, prefix, func(items []protocol.ScanItem) error {
		for _, it := range items {
			r := text.Record{Key: it.Key, Value: it.Value, Expiry: it.Expiry}
			if c.opts.json {
				c.scratch = append(r.AppendJSONTo(c.scratch[:0], it.Version), '\n')
			} else {
				c.scratch = append(r.AppendTo(c.scratch[:0]), end)
			}
			bytes += int64(len(c.scratch))
			if _, err := c.out.Write(c.scratch); err != nil {
				return err
			}
		}
		records += len(items)
		bar.show(bytes, records)
		return nil
	})
	if err == nil {
		c.foundUnder(prefix, records)
	}
	return err
}

// progress draws a line on stderr that tells how far an import or an export is. The zero value draws nothing.
type progress struct {
	s     *session // nil: draw nothing
	start time.Time
	last  time.Time
	total int64 // bytes there will be; 0: nobody knows
	drawn bool
}

// newProgress returns a bar that is drawn where stderr is a terminal.
func (s *session) newProgress(total int64) *progress {
	if !s.env.ErrTerminal {
		return &progress{}
	}
	return &progress{s: s, start: time.Now(), last: time.Now(), total: total}
}

const progressInterval = 200 * time.Millisecond

// show draws how far it is, if it is time to.
func (p *progress) show(bytes int64, records int) {
	if p.s == nil || time.Since(p.last) < progressInterval {
		return
	}
	took := time.Since(p.start).Seconds()
	line := fmt.Sprintf("%d records, %s, %.0f records/s, %s/s", records, size(int(bytes)), float64(records)/took, size(int(float64(bytes)/took)))
	if p.total > 0 && bytes > 0 {
		done := min(1, float64(bytes)/float64(p.total))
		left := time.Duration((1/done - 1) * took * float64(time.Second)).Round(time.Second)
		line = fmt.Sprintf("[%-*s] %3.0f%% %s, %v left", len(hashes), hashes[:int(done*float64(len(hashes)))], 100*done, line, left)
	}
	p.line(line)
}

// line draws any text.
func (p *progress) line(text string) {
	if p.s == nil {
		return
	}
	p.last, p.drawn = time.Now(), true
	columns, _ := p.s.env.Size()
	if len(text) > columns-1 {
		text = text[:columns-1]
	}
	fmt.Fprintf(p.s.env.Err, "\r\x1b[K%s", text)
}

const hashes = "####################"

// clear takes the line away.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.s.env.Err, "\r\x1b[K")
		p.drawn = false
	}
}
