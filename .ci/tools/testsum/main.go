// Command testsum reads what `go test -json` prints and says it shortly: a line for each package, all that was printed by
// what failed, and a line of figures at the end. It exits with 1 if anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json` and `go help buildjson`.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output and build-fail
	Test        string // empty: the event is the package's
	Elapsed     float64
	Output      string
	FailedBuild string
}

func main() {
	ok, err := sum(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// sum copies to out what matters of in and reports whether all passed.
func sum(in io.Reader, out io.Writer) (ok bool, err error) {
	var passed, failed, skipped, packages, broken int
	printed := make(map[string][]string) // what a test, a package or a build printed
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(out, "%s", line) // of the go command itself
				continue
			}
			id := e.Package + e.ImportPath + " " + e.Test
			switch e.Action {
			case "output", "build-output":
				printed[id] = append(printed[id], e.Output)
				continue
			case "pass", "fail", "skip":
			default:
				continue
			}
			switch {
			case e.Test == "" && e.Action != "fail":
				if e.Action == "pass" {
					packages++
					fmt.Fprintf(out, "ok   %-28s %6.1fs\n", e.Package, e.Elapsed)
				}
			case e.Test == "":
				packages++
				broken++
				fmt.Fprintf(out, "FAIL %-28s %6.1fs\n", e.Package, e.Elapsed)
				fmt.Fprint(out, strings.Join(printed[e.FailedBuild+" "], ""), strings.Join(printed[id], ""))
				for unended, text := range printed { // of a test that hung, and of goroutines when it was given up
					if strings.HasPrefix(unended, e.Package+" ") && unended != id {
						fmt.Fprintf(out, "---- %s did not end\n%s", unended, strings.Join(text, ""))
						delete(printed, unended)
					}
				}
			case e.Action == "pass":
				passed++
			case e.Action == "skip":
				skipped++
				fmt.Fprintf(out, "skip %s %s\n", e.Package, e.Test)
			default:
				failed++
				fmt.Fprintf(out, "---- %s %s\n%s", e.Package, e.Test, strings.Join(printed[id], ""))
			}
			delete(printed, id)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped; %d packages, %d of them failed\n",
		passed, failed, skipped, packages, broken)
	return packages > 0 && failed == 0 && broken == 0, nil
}
