//go:build !unix

package main

import "math"

// descriptorLimit is how many descriptors the process may have: here nobody says.
func descriptorLimit() int { return math.MaxInt }
