//go:build !race

package arena

const race = false
