package resp

// Commands returns all commands, and subcommands, that are served.
func Commands() (all []*Command) {
	for _, c := range table {
		all = append(append(all, c), c.Subs...)
	}
	return all
}
