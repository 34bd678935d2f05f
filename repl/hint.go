package repl

import (
	"strings"

	"kv/repl/terminal"
	"kv/repl/words"
)

// hintLine is what the shell shows in grey behind a line: how the last line that began like it went on, which Right takes,
// or else which arguments are still to come. It asks nobody, for it is called at each key.
func hintLine(before string, history []string) terminal.Hint {
	if strings.TrimSpace(before) == "" {
		return terminal.Hint{}
	}
	for i := len(history) - 1; i >= 0; i-- {
		if rest, ok := strings.CutPrefix(history[i], before); ok && rest != "" {
			return terminal.Hint{Text: rest, Take: true}
		}
	}
	ws, err := words.Split(before)
	if err != nil || len(ws) == 0 {
		return terminal.Hint{}
	}
	cmd := findCommand(ws[0].Text)
	typing := strings.TrimRight(before, " \t") == before // the last word may go on
	if cmd == nil || !cmd.usable(interactive) || len(ws) > 1 && typing {
		return terminal.Hint{}
	}
	given := 0
	f := cmd.flags()
	for i := 1; i < len(ws); i++ {
		if w := ws[i]; w.Quoted || !strings.HasPrefix(w.Text, "-") {
			given++
		} else if valueFlag(f, w.Text) != nil {
			i++
		}
	}
	rest := cmd.args
	if given > 0 {
		// What follows the first words of one way to write it; of several, the first.
		first, _, _ := strings.Cut(cmd.args, " | ")
		args := strings.Fields(first)
		if given >= len(args) || strings.HasPrefix(args[0], "[") {
			return terminal.Hint{}
		}
		rest = strings.Join(args[given:], " ")
	}
	if rest != "" && typing {
		rest = " " + rest
	}
	return terminal.Hint{Text: strings.ReplaceAll(rest, "…", "...")}
}
