// Package vectors reads the byte-for-byte examples of the protocol in testdata/vectors.txt, and runs them against a
// server. It is test support: for this project's tests, and for those of other servers and clients that are written in Go.
//
// The head of vectors.txt describes its format for everyone else.
package vectors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Scenario is a sequence of exchanges on one connection to a server that was started for it and holds nothing yet.
type Scenario struct {
	Name      string
	Options   map[string]string // how the server has to be started
	Exchanges []Exchange
}

// Exchange is some requests, sent together, and what they are answered with.
type Exchange struct {
	Name      string
	Requests  []Frame
	Responses []Frame
	Closes    bool // the server closes the connection after the responses
}

// Load reads the scenarios in a file.
func Load(path string) ([]Scenario, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	scenarios, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return scenarios, nil
}

// Parse reads the scenarios in text.
func Parse(text string) ([]Scenario, error) {
	var scenarios []Scenario
	for i, line := range join(text) {
		if line == "" {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		if word == "scenario" {
			scenarios = append(scenarios, Scenario{Name: rest, Options: map[string]string{}})
			continue
		}
		if len(scenarios) == 0 {
			return nil, fmt.Errorf("line %d: %q before any scenario", i+1, word)
		}
		if err := scenarios[len(scenarios)-1].add(word, strings.TrimSpace(rest)); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return scenarios, nil
}

// join strips comments and puts each continuation line behind the line that it continues, leaving an empty one.
func join(text string) []string {
	lines := strings.Split(text, "\n")
	head := 0
	for i, line := range lines {
		line, _, _ = strings.Cut(line, "#")
		content := strings.Join(strings.Fields(line), " ")
		switch {
		case content == "":
			lines[i] = ""
		case line[0] == ' ' || line[0] == '\t':
			lines[head] += " " + content
			lines[i] = ""
		default:
			lines[i] = content
			head = i
		}
	}
	return lines
}

// add takes one line of the scenario.
func (s *Scenario) add(word, rest string) error {
	switch word {
	case "option":
		name, value, _ := strings.Cut(rest, " ")
		s.Options[name] = value
		return nil
	case "exchange":
		s.Exchanges = append(s.Exchanges, Exchange{Name: rest})
		return nil
	}
	if len(s.Exchanges) == 0 {
		return fmt.Errorf("%q before any exchange", word)
	}
	x := &s.Exchanges[len(s.Exchanges)-1]
	if word == "<" && rest == "close" {
		x.Closes = true
		return nil
	}
	frame, err := parseFrame(rest)
	if err != nil {
		return err
	}
	switch word {
	case ">":
		x.Requests = append(x.Requests, frame)
	case "<":
		x.Responses = append(x.Responses, frame)
	default:
		return fmt.Errorf("%q is not scenario, option, exchange, > or <", word)
	}
	return nil
}

// Run plays the scenario on conn, a new connection to a server that was started with s.Options. The error names the
// exchange and says what differed.
func (s Scenario) Run(conn io.ReadWriter) error {
	captured := Captures{}
	for _, x := range s.Exchanges {
		if err := x.run(conn, captured); err != nil {
			return fmt.Errorf("%s/%s: %w", s.Name, x.Name, err)
		}
	}
	return nil
}

func (x Exchange) run(conn io.ReadWriter, captured Captures) error {
	var out bytes.Buffer
	for _, f := range x.Requests {
		b, err := f.bytes(captured)
		if err != nil {
			return err
		}
		out.Write(b)
	}
	if _, err := conn.Write(out.Bytes()); err != nil {
		return err
	}
	for i, f := range x.Responses {
		got, err := readFrame(conn)
		if err != nil {
			return fmt.Errorf("response %d: %w", i, err)
		}
		if err := f.Match(got, captured); err != nil {
			return fmt.Errorf("response %d: %w", i, err)
		}
	}
	if !x.Closes {
		return nil
	}
	switch n, err := conn.Read(make([]byte, 1)); {
	case n > 0:
		return errors.New("bytes where the connection should have been closed")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the connection was not closed")
	}
	return nil
}
