package linear

import (
	"time"

	"github.com/anishathalye/porcupine"
)

// Whole is Check without cuts.
func Whole(history []porcupine.Operation, timeout time.Duration) error {
	return decide([]moment{{}}, history, history, timeout)
}

// Windows is how many a history is cut into.
func Windows(history []porcupine.Operation) int { return len(cut(history)) }
