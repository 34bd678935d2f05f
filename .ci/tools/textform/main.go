// Command textform turns files into records of the text form and compares such records with files. It is written from the
// words of docs/cli.md, apart from the project's own code, so that the two check each other.
//
//	textform encode ROOT OUT BYTES < LIST    files of about BYTES in OUT: N.records (path TAB content) and N.keys
//	textform compare ROOT < RECORDS          each record's value is what the file of that name holds
//	textform lines ROOT < LIST               the content of each file, and a newline behind it
//
// LIST has paths below ROOT, each ended by NUL.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "textform:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 4 && args[0] == "encode":
		size, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return encode(args[1], args[2], size)
	case len(args) == 2 && args[0] == "compare":
		return compare(args[1])
	case len(args) == 2 && args[0] == "lines":
		return lines(args[1])
	}
	return errors.New("usage: textform encode ROOT OUT BYTES, or textform compare ROOT, or textform lines ROOT")
}

// paths reads the list from stdin.
func paths() ([]string, error) {
	list, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00"), nil
}

func encode(root, out string, size int) error {
	list, err := paths()
	if err != nil {
		return err
	}
	var keys, records []byte
	batch := 0
	write := func() error {
		name := filepath.Join(out, fmt.Sprintf("%04d", batch))
		batch++
		err := errors.Join(os.WriteFile(name+".records", records, 0o600), os.WriteFile(name+".keys", keys, 0o600))
		keys, records = keys[:0], records[:0]
		return err
	}
	for _, path := range list {
		content, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		key := escape([]byte(path))
		keys = append(append(keys, key...), '\n')
		records = append(append(append(records, key...), '\t'), escape(content)...)
		records = append(records, '\n')
		if len(records) >= size {
			if err := write(); err != nil {
				return err
			}
		}
	}
	return write()
}

func compare(root string) error {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			fmt.Println(n - 1)
			return nil
		}
		if err != nil {
			return fmt.Errorf("record %d: %w", n, err)
		}
		field, rest, ok := bytes.Cut(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\t'})
		if !ok {
			return fmt.Errorf("record %d: no TAB in it", n)
		}
		key, err := unescape(field)
		if err != nil {
			return fmt.Errorf("record %d: key: %w", n, err)
		}
		value, err := unescape(rest)
		if err != nil {
			return fmt.Errorf("record %d: %s: %w", n, key, err)
		}
		content, err := os.ReadFile(filepath.Join(root, string(key)))
		if err != nil {
			return err
		}
		if !bytes.Equal(value, content) {
			return fmt.Errorf("record %d: %s: its %d bytes are not the %d bytes of the file", n, key, len(value), len(content))
		}
	}
}

func lines(root string) error {
	list, err := paths()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for _, path := range list {
		content, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		out.Write(content)
		out.WriteByte('\n')
	}
	return out.Flush()
}

var short = map[rune]string{'\t': `\t`, '\n': `\n`, '\r': `\r`, '\\': `\\`}

func escape(b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch s, ok := short[r]; {
		case ok:
			out = append(out, s...)
		case unicode.IsPrint(r) && !(r == utf8.RuneError && n == 1):
			out = append(out, b[:n]...)
		default:
			for _, c := range b[:n] {
				out = fmt.Appendf(out, `\x%02x`, c)
			}
		}
		b = b[n:]
	}
	return out
}

func unescape(b []byte) ([]byte, error) {
	if string(b) == `\N` {
		return nil, errors.New("missing")
	}
	out := []byte{}
	for len(b) > 0 {
		if b[0] != '\\' {
			out = append(out, b[0])
			b = b[1:]
			continue
		}
		if len(b) == 1 {
			return nil, errors.New("a backslash at the end")
		}
		n := 2
		switch b[1] {
		case 't':
			out = append(out, '\t')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case '\\':
			out = append(out, '\\')
		case 'x':
			n = 4
			if len(b) < n {
				return nil, errors.New(`\x at the end`)
			}
			c, err := strconv.ParseUint(string(b[2:4]), 16, 8)
			if err != nil {
				return nil, err
			}
			out = append(out, byte(c))
		default:
			return nil, fmt.Errorf("%q is no escape", b[:2])
		}
		b = b[n:]
	}
	return out, nil
}
