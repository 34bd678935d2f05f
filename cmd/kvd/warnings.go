package main

import (
	"log/slog"
	"os"
)

// What is allowed, and is likely to be a mistake, is warned of at the start. connectionLimit does so, too.

// checkMemory returns how much of --max-memory is used where so much is granted to the process, and warns where that is
// not all: a server that takes more is ended by the system, with all that it has, before it refuses a write.
func checkMemory(maxMemory, granted int64, log *slog.Logger) int64 {
	most := mostMemory(granted)
	if maxMemory <= most {
		return maxMemory
	}
	message := "--max-memory leaves too little for what is outside of it: less is used"
	if maxMemory > granted {
		message = "--max-memory is more than there is: less is used"
	}
	log.Warn(message, "max_memory", size(maxMemory).String(), "granted", size(granted).String(), "used", size(most).String())
	return most
}

// checkFolder warns where others than the owner may write to the data folder.
func checkFolder(dir string, log *slog.Logger) {
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o022 != 0 {
		log.Warn("others may write to the data folder, and so change or remove what is in it: chmod go-w it",
			"data", dir, "mode", info.Mode().Perm().String())
	}
}
