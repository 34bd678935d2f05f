//go:build !unix

package arena

// reserve has the memory from Go's heap: this system is not known well enough.
func reserve(size uint64, useGo, _ bool) (memory, uint64, error) {
	return newGoMemory(size, useGo), size, nil
}
