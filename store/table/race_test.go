//go:build race

package table

const race = true
