package version

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuilt(t *testing.T) {
	revision := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: "9f42979088826a0f91172c89a7afa1534c144868"},
			{Key: "vcs.modified", Value: modified}}
	}
	for _, c := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, "devel (unknown revision)"},
		{&debug.BuildInfo{}, "devel (unknown revision)"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "devel (unknown revision)"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: revision("false")}, "devel-9f4297908882"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: revision("true")}, "devel-9f4297908882+dirty"},
		{&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: revision("true")}, "v1.2.3"},
	} {
		require.Equal(t, c.want, built(c.info))
	}
}
