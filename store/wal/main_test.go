package wal_test

import (
	"testing"

	"go.uber.org/goleak"
)

// No goroutine outlives its log, its store or its backup.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
