package netserver_test

import (
	"testing"

	"go.uber.org/goleak"

	"kv/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var storeWithHistory = store.Options{History: 2}
