package main

import (
	"log/slog"
	"os"
)

// What is allowed, and is likely to be a mistake, is warned of at the start. connectionLimit does so, too.

// checkMemory warns where --max-memory is more than this process is granted, or leaves too little for what is outside of it.
func checkMemory(maxMemory, granted int64, log *slog.Logger) {
	switch {
	case maxMemory > granted:
		log.Warn("--max-memory is more than there is: the system will end the server before it refuses a write",
			"max_memory", size(maxMemory).String(), "granted", size(granted).String())
	case maxMemory > granted-granted/8:
		log.Warn("--max-memory leaves too little for what is outside of it: the system may end the server before it refuses a write",
			"max_memory", size(maxMemory).String(), "granted", size(granted).String(), "default", size(defaultMemory(granted)).String())
	}
}

// checkFolder warns where others than the owner may write to the data folder.
func checkFolder(dir string, log *slog.Logger) {
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o022 != 0 {
		log.Warn("others may write to the data folder, and so change or remove what is in it: chmod go-w it",
			"data", dir, "mode", info.Mode().Perm().String())
	}
}
