package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// variablePrefix begins the name of each environment variable that is an option of the server.
const variablePrefix = "KVD_"

// variable is the name of the environment variable that stands for an option.
func variable(option string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// fromEnvironment sets the flags that the command line did not from environ, which is in the form of os.Environ. The
// warnings are of what it does not use.
func fromEnvironment(flags *pflag.FlagSet, environ []string) (warnings []string, err error) {
	options := make(map[string]*pflag.Flag)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "version" {
			options[variable(f.Name)] = f
		}
	})
	for _, e := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, variablePrefix) {
			continue
		}
		f := options[name]
		switch {
		case f == nil:
			warnings = append(warnings, fmt.Sprintf("the environment variable %s is ignored: no option has that name, see kvd --help", name))
		case !f.Changed:
			if err := flags.Set(f.Name, value); err != nil {
				return nil, fmt.Errorf("environment variable %s: %w", name, err)
			}
		case f.Value.String() != value:
			warnings = append(warnings, fmt.Sprintf("the environment variable %s is ignored: --%s is given, too, and wins", name, f.Name))
		}
	}
	return warnings, nil
}
