package repl

import (
	"fmt"
	"path/filepath"
	"strings"

	"kv/protocol/jsonform"
	"kv/protocol/printable"
)

func contextCommand() *command {
	return &command{
		name: "context", args: "[ls | show [NAME] | use NAME | add NAME | rm NAME]", min: 0, max: 2, where: kvcOnly,
		short: "List, show, choose, add and remove servers that have names.",
		long: "A context is a server's address with the user, the file of the secret and what TLS needs. `add` makes a context of the options that it is given. `use` makes a context the current one, " +
			"whose server every command then talks to unless `--addr`, KV_ADDR, `--context` or KV_CONTEXT says otherwise; with `use ''` there is no current one. " +
			"`ls` prints names, addresses, and which is current, separated by TAB. An option comes first, then a context that `--context` names, the environment, the context of KV_CONTEXT or the current one, and last the default. " +
			"A context's secret is only ever used for its user. Contexts are in $XDG_CONFIG_HOME/kv/config, or ~/.config/kv/config, in YAML, and may be edited there; file names are looked up beside that file.",
		examples: []example{
			{"context add prod --addr kvs://ann@db1.example", "a name for a server; --secret-file and --tls-ca are kept too"},
			{"context add dev --addr localhost", "another, on this machine's port 7070"},
			{"context", "all of them"},
			{"context add here --addr $KV_ADDR && kvc context use here", "from now on: the default of every command"},
		},
		build: func(flags) func(*call) error { return (*call).contextCommand },
	}
}

func (c *call) contextCommand() error {
	verb, name := "ls", ""
	if len(c.args) > 0 {
		verb = strings.ToLower(string(c.key(0)))
	}
	named := len(c.args) > 1
	if named {
		name = string(c.key(1))
	}
	file := c.contextsFile()
	if verb == "use" || verb == "add" || verb == "rm" {
		unlock, err := lockContexts(c.ctx, file)
		if err != nil {
			return err
		}
		defer unlock()
	}
	all, err := readContexts(c.ctx, file)
	if err != nil {
		return err
	}
	c.contexts = all
	switch {
	case (verb == "ls" || verb == "list") && !named:
		return c.listContexts(all)
	case verb == "show":
		if !named {
			if name, err = c.contextInUse(c.ctx); err != nil {
				return err
			}
			if name == "" {
				return usagef("no context is in use: the server is %v", c.opts.addr)
			}
		}
		return c.showContext(all, name)
	case verb == "use" && named:
		err = all.use(name)
	case verb == "add" && named:
		err = c.addContext(all, name)
	case verb == "rm" && named:
		err = all.remove(name)
	case verb == "use", verb == "add", verb == "rm":
		return usagef("context %s needs a name", verb)
	default:
		return usagef("usage: context [ls | show [NAME] | use NAME | add NAME | rm NAME]")
	}
	if err != nil {
		return err
	}
	if err := all.write(c.ctx); err != nil {
		return err
	}
	if from := c.opts.origins["addr"]; verb == "use" && name != "" && from == byEnvironment {
		c.notef("%s is set, and comes before the current context", envName("addr"))
	}
	return nil
}

// addContext makes a context of the options that the command line gives.
func (c *call) addContext(all *contexts, name string) error {
	settings := map[string]string{}
	f := newFlags()
	given := c.opts
	given.bind(f)
	for _, option := range contextOptions {
		g := f.Lookup(option)
		if c.opts.origins[option] != byFlag {
			continue
		}
		value := g.Value.String()
		if isFile(g.Value.Type()) {
			whole, err := filepath.Abs(value)
			if err != nil {
				return fileError{err}
			}
			value = whole
		}
		settings[option] = value
	}
	if settings["addr"] == "" {
		return usagef("context add needs the server: --addr ADDR")
	}
	if _, err := c.opts.clientOptions(c.ctx, c.env.Getenv); err != nil { // a file is missing, or a part of the TLS options
		return err
	}
	return all.add(name, settings)
}

func (c *call) listContexts(all *contexts) error {
	inUse, err := c.contextInUse(c.ctx)
	if err != nil {
		return err
	}
	list := jsonList{s: c.session}
	for _, name := range all.names() {
		if c.opts.json {
			list.next()
			c.jsonContext(name, all.all[name], name == inUse)
			continue
		}
		c.printField([]byte(name), 0)
		c.out.WriteByte('\t')
		c.printField([]byte(all.all[name]["addr"]), 0)
		if name == inUse {
			c.out.WriteString("\tcurrent")
		}
		c.out.WriteByte('\n')
	}
	if c.opts.json {
		list.close()
	}
	return nil
}

func (c *call) showContext(all *contexts, name string) error {
	settings, err := all.get(name)
	if err != nil {
		return err
	}
	if c.opts.json {
		inUse, err := c.contextInUse(c.ctx)
		if err != nil {
			return err
		}
		c.jsonContext(name, settings, name == inUse)
		c.out.WriteByte('\n')
		return nil
	}
	fmt.Fprintf(c.out, "name %s\n", printable.Line(name))
	for _, option := range contextOptions {
		if value, ok := settings[option]; ok {
			fmt.Fprintf(c.out, "%s %s\n", option, printable.Line(value))
		}
	}
	return nil
}

func (s *session) jsonContext(name string, settings map[string]string, current bool) {
	b := append(s.scratch[:0], `{"name":`...)
	b = jsonform.AppendBytes(b, []byte(name))
	for _, option := range contextOptions {
		if value, ok := settings[option]; ok {
			b = fmt.Appendf(b, ",%q:", option)
			b = jsonform.AppendBytes(b, []byte(value))
		}
	}
	s.scratch = fmt.Appendf(b, `,"current":%t}`, current)
	s.out.Write(s.scratch)
}
