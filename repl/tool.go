package repl

import (
	"fmt"

	"kv/repl/words"
)

func toolCommands() []*command {
	return []*command{
		{
			name: "help", args: "[COMMAND | TOPIC]", min: 0, max: 1, inTxn: true, outsideTxn: true,
			short:    "Explain a command, or a topic: " + topicNames() + ".",
			examples: []example{{"help set", "one command"}, {"help exit-codes", "a topic"}},
			build:    func(flags) func(*call) error { return (*call).help },
		},
		{
			name: "connect", args: "ADDR | --context NAME", min: 0, max: 1, where: shellOnly,
			short:    "Talk to another server.",
			long:     "ADDR is as for `--addr`, and `--context` as on the command line. The context before, and what login was told, are left behind with their server.",
			examples: []example{{"connect 10.0.0.7:7070", "from now on"}},
			build: func(f flags) func(*call) error {
				var context string
				flagVar(f, &context, "context", "", "NAME", "the server that this context names", parseGiven)
				return func(c *call) error { return c.connect(context) }
			},
		},
		loginCommand(),
		contextCommand(),
		{
			name: "timing", args: "on | off", min: 1, max: 1, where: shellOnly, inTxn: true, outsideTxn: true,
			short:    "Show how long each command takes. Without it, only what takes longer than half a second is shown.",
			examples: []example{{"timing on", "after every command"}},
			build: func(flags) func(*call) error {
				return func(c *call) error {
					switch string(c.key(0)) {
					case "on":
						c.timing = true
					case "off":
						c.timing = false
					default:
						return usagef("timing is on or off")
					}
					return nil
				}
			},
		},
		{
			name: "exit", where: shellOnly, inTxn: true, outsideTxn: true, short: "Leave the shell.",
			long:     "So does Ctrl-D on an empty line. An open transaction is not applied.",
			examples: []example{{"exit", "leave"}},
			build:    func(flags) func(*call) error { return func(*call) error { return errExit } },
		},
		{
			name: "quit", where: shellOnly, inTxn: true, outsideTxn: true, short: "Leave the shell, as exit does.",
			examples: []example{{"quit", "leave"}},
			build:    func(flags) func(*call) error { return func(*call) error { return errExit } },
		},
		{
			name: "completion", args: "bash | zsh | fish", min: 1, max: 1,
			short: "Print the script that makes a shell complete kvc's commands, options and stored keys.",
			examples: []example{
				{"completion bash > ~/.local/share/bash-completion/completions/kvc", "for bash"},
				{"completion zsh > ~/.zsh/completions/_kvc", "for zsh, where that folder is in $fpath"},
				{"completion fish > ~/.config/fish/completions/kvc.fish", "for fish"},
			},
			build: func(flags) func(*call) error { return (*call).completion },
		},
		{
			name: "man", args: "FOLDER", min: 1, max: 1,
			short:    "Write the man pages into a folder.",
			examples: []example{{"man ~/.local/share/man/man1", "then: man kvc, man kvc-set"}},
			build:    func(flags) func(*call) error { return (*call).man },
		},
	}
}

func (c *call) connect(context string) error {
	if c.txn != nil {
		return usagef("a transaction is open: commit or abort it first")
	}
	addr, addrFrom, contextFrom := defaultOptions().addr, byDefault, byFlag
	switch {
	case (context == "") == (len(c.args) == 0):
		return usagef("connect takes an address or --context NAME")
	case context == "":
		var err error
		if addr, err = parseAddr(string(c.key(0))); err != nil {
			return usagef("connect takes %v", err)
		}
		addrFrom, contextFrom = byFlag, byDefault // what a context says is of the server before
	default:
		all, err := readContexts(c.ctx, c.contextsFile())
		if err != nil {
			return err
		}
		if _, err := all.get(context); err != nil {
			return err
		}
		c.contexts = all
	}
	c.close()
	o := &c.session.opts
	o.addr, o.origins["addr"] = addr, addrFrom
	o.context, o.origins["context"] = context, contextFrom
	if o.typedSecret != "" { // and so is this
		o.typedSecret, o.user, o.origins["user"] = "", "", byDefault
	}
	kv, err := c.client()
	if err != nil {
		return err
	}
	if c.mode == interactive {
		at := kv.Addr()
		if addrFrom == byFlag {
			at = addr.String()
		}
		fmt.Fprintf(c.out, "connected to %s\n", words.Bare(at))
		c.greet(c.ctx)
	}
	return nil
}
