package main

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// defaultMemory is --max-memory where so much is granted to the process: 75% less 64 MiB, but a third at least; in whole MiB. The
// rest is for what is outside of it: connections, the collector's room, the system. In a small group that is a larger part.
func defaultMemory(granted int64) int64 { return max(granted/4*3-64<<20, granted/3) >> 20 << 20 }

// mostMemory is the highest --max-memory that is used where so much is granted: with more, GOMEMLIMIT would leave the
// collector no room.
func mostMemory(granted int64) int64 {
	return max((granted-systemBytes(granted)-limitBytes)/limitPercent*100, granted/3) >> 20 << 20
}

// fallbackMemory is assumed where the system does not say how much memory it has.
const fallbackMemory = 2 << 30

// grantedMemory is how much memory the machine has, or the control groups of this process grant, if that is less.
func grantedMemory() int64 {
	granted := int64(math.MaxInt64)
	if n, ok := meminfoTotal("/proc/meminfo"); ok {
		granted = n
	}
	for _, file := range groupLimits("/proc/self/cgroup", "/sys/fs/cgroup") {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// "max" stands for no limit.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			granted = min(granted, n)
		}
	}
	if granted == math.MaxInt64 {
		return fallbackMemory
	}
	return granted
}

func meminfoTotal(path string) (int64, bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

// groupLimits lists the files that may hold a limit for this process: of its group and of each above it, in the unified
// hierarchy and in the older one.
func groupLimits(groups, root string) (files []string) {
	text, err := os.ReadFile(groups)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		dir, name := root, "memory.max"
		if parts[1] == "memory" {
			dir, name = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		} else if parts[1] != "" {
			continue
		}
		for group := filepath.Clean("/" + parts[2]); ; group = filepath.Dir(group) {
			files = append(files, filepath.Join(dir, group, name))
			if group == "/" {
				break
			}
		}
	}
	return files
}
