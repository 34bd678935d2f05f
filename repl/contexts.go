package repl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"kv/repl/files"
)

// contexts is the file with the servers that the user has given names, in YAML:
//
//	current: prod
//	contexts:
//	  prod:
//	    addr: kvs://db1.example
//	    user: ann
//	    secret-file: prod.secret
//
// A context has the names of options; a file that it names is looked for beside this one. What kvc does not change, comments
// too, stays as it was written.
type contexts struct {
	file string
	doc  yaml.Node // the whole file; zero: there is none

	current string // the one that is used where nothing else is said; "": none
	all     map[string]map[string]string
}

// contextOptions are the options that a context may have.
var contextOptions = []string{"addr", "user", "secret-file", "tls", "tls-ca", "tls-cert", "tls-key"}

// contextsFile is where the XDG base folders say that configuration belongs; "": nobody knows.
func (s *session) contextsFile() string {
	if dir := s.env.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kv", "config")
	}
	if home := s.env.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".config", "kv", "config")
	}
	return ""
}

// lockContexts keeps other commands from changing the file until unlock is called. Its folder is made.
func lockContexts(ctx context.Context, file string) (unlock func(), err error) {
	if file == "" {
		return nil, fileError{errors.New("there is no folder for configuration: neither XDG_CONFIG_HOME nor HOME is set")}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fileError{err}
	}
	return files.Lock(ctx, file)
}

// readContexts reads the file of contexts. A missing file has none.
func readContexts(ctx context.Context, file string) (*contexts, error) {
	c := &contexts{file: file, all: map[string]map[string]string{}}
	if file == "" {
		return c, nil
	}
	b, err := readText(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if err := c.parse(b); err != nil {
		return nil, fileError{fmt.Errorf("%s: %w", file, err)}
	}
	return c, nil
}

func (c *contexts) parse(b []byte) error {
	if err := yaml.Unmarshal(b, &c.doc); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(c.doc.Content) == 0 { // comments at most
		c.doc = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}},
			HeadComment: strings.TrimSpace(string(b))}
	}
	return eachPair(c.doc.Content[0], func(name string, value *yaml.Node) error {
		switch name {
		case "current":
			return scalarText(value, &c.current)
		case "contexts":
			return eachPair(value, c.parseContext)
		}
		return fmt.Errorf("%s is neither current nor contexts", shown([]byte(name)))
	})
}

func (c *contexts) parseContext(name string, node *yaml.Node) error {
	settings := map[string]string{}
	err := eachPair(node, func(option string, value *yaml.Node) error {
		var s string
		err := scalarText(value, &s)
		settings[option] = s
		return err
	})
	if err == nil {
		err = checkContext(settings)
	}
	if err != nil {
		return fmt.Errorf("context %s: %w", shown([]byte(name)), err)
	}
	c.all[name] = settings
	return nil
}

// eachPair calls f for each key of a mapping, and names the line of its error.
func eachPair(mapping *yaml.Node, f func(name string, value *yaml.Node) error) error {
	if mapping.Kind == yaml.ScalarNode && mapping.Tag == "!!null" {
		return nil // nothing stands there
	}
	if mapping.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: names with something behind a colon are expected here", mapping.Line)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		name, value := mapping.Content[i], mapping.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		err := f(name.Value, value)
		if seen[name.Value] {
			err = fmt.Errorf("%s is there twice", shown([]byte(name.Value)))
		}
		if err != nil {
			if !strings.HasPrefix(err.Error(), "line ") {
				err = fmt.Errorf("line %d: %w", name.Line, err)
			}
			return err
		}
		seen[name.Value] = true
	}
	return nil
}

// scalarText sets s to what a scalar is as text.
func scalarText(node *yaml.Node, s *string) error {
	if node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
		return fmt.Errorf("line %d: a text is expected here", node.Line)
	}
	*s = node.Value
	return nil
}

// checkContext says what is wrong with the settings of a context.
func checkContext(settings map[string]string) error {
	f := globalFlags()
	for name, value := range settings {
		switch {
		case name == "secret":
			return errors.New("a secret is kept in a file of its own: secret-file")
		case !slices.Contains(contextOptions, name):
			return fmt.Errorf("%s is none of %s", shown([]byte(name)), strings.Join(contextOptions, ", "))
		}
		if err := f.Lookup(name).Value.Set(value); err != nil {
			return fmt.Errorf("%s %s is wrong: it takes %w", name, shown([]byte(value)), err)
		}
	}
	if settings["addr"] == "" {
		return errors.New("addr is missing")
	}
	return nil
}

// get returns the settings of a context, the files in them by their full names.
func (c *contexts) get(name string) (map[string]string, error) {
	settings, ok := c.all[name]
	if !ok {
		if len(c.all) == 0 {
			return nil, usagef("there is no context %s: %s has none", shown([]byte(name)), c.file)
		}
		return nil, usagef("there is no context %s: there are %s", shown([]byte(name)), strings.Join(c.names(), ", "))
	}
	whole := map[string]string{}
	for option, value := range settings {
		if isFile(globalFlags().Lookup(option).Value.Type()) {
			value = c.path(value)
		}
		whole[option] = value
	}
	return whole, nil
}

// path completes the name of a file.
func (c *contexts) path(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.file), name)
}

func (c *contexts) names() []string {
	var names []string
	for name := range c.all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// use makes a context the current one; "": none is.
func (c *contexts) use(name string) error {
	if _, err := c.get(name); err != nil && name != "" {
		return err
	}
	c.current = name
	if name == "" {
		removeKey(c.root(), "current")
		return nil
	}
	value := scalar(name)
	setKey(c.root(), "current", value)
	return nil
}

// add makes a new context.
func (c *contexts) add(name string, settings map[string]string) error {
	if name == "" || strings.HasPrefix(name, "-") {
		return usagef("a context has a name, which does not begin with a dash")
	}
	if c.all[name] != nil {
		return usagef("there is a context %s already: kvc context rm %[1]s takes it away", shown([]byte(name)))
	}
	if err := checkContext(settings); err != nil {
		return usagef("context %s: %v", shown([]byte(name)), err)
	}
	c.all[name] = settings
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, option := range contextOptions {
		if value, ok := settings[option]; ok {
			setKey(node, option, scalar(value))
		}
	}
	setKey(c.section(), name, node)
	return nil
}

// remove takes a context away.
func (c *contexts) remove(name string) error {
	if _, err := c.get(name); err != nil {
		return err
	}
	delete(c.all, name)
	removeKey(c.section(), name)
	if c.current == name {
		return c.use("")
	}
	return nil
}

// write puts the file, which lockContexts has locked, on the disk.
func (c *contexts) write(ctx context.Context) error {
	return files.Write(ctx, c.file, 0o600, func(w io.Writer) error {
		e := yaml.NewEncoder(w)
		e.SetIndent(2)
		return errors.Join(e.Encode(&c.doc), e.Close())
	})
}

// root is the mapping that the whole file is.
func (c *contexts) root() *yaml.Node {
	if len(c.doc.Content) == 0 {
		c.doc = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	}
	if root := c.doc.Content[0]; root.Kind != yaml.MappingNode { // null, which stands for one without keys
		*root = yaml.Node{Kind: yaml.MappingNode, HeadComment: root.HeadComment, FootComment: root.FootComment}
	}
	return c.doc.Content[0]
}

// section is the mapping of all contexts by their names.
func (c *contexts) section() *yaml.Node {
	if node := key(c.root(), "contexts"); node != nil && node.Kind == yaml.MappingNode {
		node.Style &^= yaml.FlowStyle // {} is how an empty one is written
		return node
	}
	setKey(c.root(), "contexts", &yaml.Node{Kind: yaml.MappingNode})
	return key(c.root(), "contexts")
}

func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// key returns the value of a key of a mapping; nil: it has none.
func key(mapping *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func setKey(mapping *yaml.Node, name string, value *yaml.Node) {
	if old := key(mapping, name); old != nil {
		value.HeadComment, value.LineComment, value.FootComment = old.HeadComment, old.LineComment, old.FootComment
		*old = *value
		return
	}
	mapping.Content = append(mapping.Content, scalar(name), value)
}

func removeKey(mapping *yaml.Node, name string) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			mapping.Content = slices.Delete(mapping.Content, i, i+2)
			return
		}
	}
}
