package wal

import "time"

// GivesWay is after how long without a pull a backup gives way to another that needs its slot.
func GivesWay(b *Backups) *time.Duration { return &b.givesWay }
