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
				"(its batch and what comes after it is not sent) and at the first batch that the server refuses; the report on stderr says which lines were applied, and which were skipped. In a cluster that has no leader it waits for one, for as long as `--timeout` says, and goes on; where the server that led has ended, at another of those that `--addr` names.",
			examples: []example{
				{"import records.txt", "a file in the text form"},
				{"export | kvc --addr $other import -", "from one server to another"},
				{"import --json records.jsonl", "JSON Lines"},
				{"import --keep-going records.txt", "skip what is wrong, and say so"},
			},
			build: func(f flags) func(*call) error {
				var keepGoing bool
				f.bool(&keepGoing, "keep-going", "",
					"skip lines that are wrong and batches that are refused; the exit code tells of the first")
				end := terminator(f)
				return func(c *call) error { return c.importRecords(keepGoing, *end) }
			},
		},
		{
			name: "export", args: "[PREFIX]", min: 0, max: 1, keys: firstKey,
			short: "Print all records, or those whose keys begin with a prefix.",
			long:  "In the text form, or with `--json` as JSON Lines, as import reads them: with the expiry where there is one. A key that is there all the time is printed exactly once. In a cluster that has no leader it waits for one, at each page, for as long as `--timeout` says.",
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
	if _, err := c.client(); err != nil {
		return err
	}
	bar := c.newProgress(total)
	start := time.Now()
	r, err := load.Import(c.ctx, c.patience(), newInput(c.ctx, in), load.ImportOptions{
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
	var unwritten error
	err := load.Export(c.ctx, c.patience(), prefix, func(items []protocol.ScanItem) error {
		for _, it := range items {
			r := text.Record{Key: it.Key, Value: it.Value, Expiry: it.Expiry}
			if c.opts.json {
				c.scratch = r.AppendJSONTo(c.scratch[:0], it.Version)
			} else {
				c.scratch = r.AppendTo(c.scratch[:0])
			}
			c.scratch = append(c.scratch, end)
			bytes += int64(len(c.scratch))
			if _, unwritten = c.out.Write(c.scratch); unwritten != nil {
				return unwritten
			}
		}
		records += len(items)
		bar.show(bytes, records)
		return nil
	})
	switch {
	case err == nil:
		c.foundUnder(prefix, records)
	case records > 0 && unwritten == nil && c.ctx.Err() == nil:
		bar.clear()
		c.notef("%d records were exported before this:", records)
	}
	return err
}
