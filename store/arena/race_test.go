//go:build race

package arena

const race = true
