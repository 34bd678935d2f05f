package deploy_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// TestKubernetes: each manifest has the fields that its kind has, and no others, and the parts fit each other.
func TestKubernetes(t *testing.T) {
	text, err := os.ReadFile(deploy + "/kubernetes/kv.yaml")
	require.NoError(t, err)
	var set apps.StatefulSet
	var services []core.Service
	var policy networking.NetworkPolicy
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var kind struct{ APIVersion, Kind string }
		require.NoError(t, yaml.Unmarshal([]byte(document), &kind))
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 Service":
			services = append(services, core.Service{})
			require.NoError(t, yaml.UnmarshalStrict([]byte(document), &services[len(services)-1]))
		case "apps/v1 StatefulSet":
			require.NoError(t, yaml.UnmarshalStrict([]byte(document), &set))
		case "networking.k8s.io/v1 NetworkPolicy":
			require.NoError(t, yaml.UnmarshalStrict([]byte(document), &policy))
		default:
			require.Fail(t, "a kind that is not checked", "%+v", kind)
		}
	}

	pod := set.Spec.Template
	require.Equal(t, set.Spec.Selector.MatchLabels, pod.Labels)
	require.Equal(t, pod.Labels, policy.Spec.PodSelector.MatchLabels)
	kvd := pod.Spec.Containers[0]
	ports := make(map[string]int32)
	for _, p := range kvd.Ports {
		ports[p.Name] = p.ContainerPort
	}
	require.Equal(t, map[string]int32{"kv": 7070, "http": 7071}, ports)
	var names []string
	for _, s := range services {
		names = append(names, s.Name)
		require.Equal(t, pod.Labels, s.Spec.Selector)
		for _, p := range s.Spec.Ports {
			require.Equal(t, "kv", p.TargetPort.String(), "the pages are in no Service")
		}
	}
	require.Contains(t, names, set.Spec.ServiceName)
	require.Equal(t, "/livez", kvd.LivenessProbe.HTTPGet.Path)
	require.Equal(t, "/readyz", kvd.ReadinessProbe.HTTPGet.Path)
	require.Nil(t, kvd.StartupProbe)
	require.Contains(t, ports, kvd.LivenessProbe.HTTPGet.Port.String())
	require.Contains(t, ports, kvd.ReadinessProbe.HTTPGet.Port.String())
	require.Equal(t, kvd.Resources.Limits.Memory(), kvd.Resources.Requests.Memory())
	require.True(t, *kvd.SecurityContext.ReadOnlyRootFilesystem)
	require.Equal(t, []core.Capability{"ALL"}, kvd.SecurityContext.Capabilities.Drop)
	require.EqualValues(t, 65532, *pod.Spec.SecurityContext.RunAsUser)

	mounts := make(map[string]bool)
	for _, v := range pod.Spec.Volumes {
		mounts[v.Name] = true
		require.EqualValues(t, 0o440, *v.Secret.DefaultMode)
	}
	for _, v := range set.Spec.VolumeClaimTemplates {
		mounts[v.Name] = true
	}
	for _, m := range kvd.VolumeMounts {
		require.True(t, mounts[m.Name], m.Name)
	}
}

// TestCompose: compose takes the file, and the files that it mounts are there.
func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{deploy + "/compose/compose.yaml"}, cli.WithResolvedPaths(true))
	require.NoError(t, err)
	project, err := options.LoadProject(context.Background())
	require.NoError(t, err)
	require.Len(t, project.Services, 3)
	for name, service := range project.Services {
		for _, v := range service.Volumes {
			if v.Type == "bind" {
				_, err := os.Stat(v.Source)
				require.NoError(t, err, name)
			}
		}
		for _, p := range service.Ports {
			require.Equal(t, "127.0.0.1", p.HostIP, name)
		}
		if service.Build == nil {
			require.Regexp(t, `:v?\d+\.\d+\.\d+$`, service.Image, "the version is pinned")
		} else {
			_, err := os.Stat(service.Build.Context + "/Dockerfile")
			require.NoError(t, err, name)
		}
	}
}

// TestDockerfileBuilds: what .dockerignore leaves of the sources is enough for the command that Dockerfile builds the programs with.
func TestDockerfileBuilds(t *testing.T) {
	ignore, err := os.ReadFile("../../.dockerignore")
	require.NoError(t, err)
	ignored, err := patternmatcher.New(strings.Fields(string(ignore)))
	require.NoError(t, err)
	sources := t.TempDir()
	require.NoError(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel("../..", path)
		leave, err := ignored.MatchesOrParentMatches(rel)
		switch {
		case err != nil:
			return err
		case leave && d.IsDir():
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(sources, rel), 0o755)
		case leave || !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return os.WriteFile(filepath.Join(sources, rel), data, 0o644)
	}))
	text, err := os.ReadFile("../../Dockerfile")
	require.NoError(t, err)
	file, err := parser.Parse(bytes.NewReader(text))
	require.NoError(t, err)
	stages, _, err := instructions.Parse(file.AST, nil)
	require.NoError(t, err)
	out := t.TempDir()
	ran := 0
	for _, c := range stages[0].Commands {
		run, ok := c.(*instructions.RunCommand)
		if !ok {
			continue
		}
		ran++
		cmd := exec.Command("sh", "-ec", strings.ReplaceAll(strings.Join(run.CmdLine, " "), "/out/", out+"/"))
		cmd.Dir = sources
		cmd.Env = append(os.Environ(), "VERSION=v9.8.7", "TARGETOS="+runtime.GOOS, "TARGETARCH="+runtime.GOARCH)
		said, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", run.CmdLine, said)
	}
	require.Equal(t, 2, ran)
	for _, program := range []string{"kvc", "kvd"} {
		said, err := exec.Command(filepath.Join(out, program), "--version").Output()
		require.NoError(t, err)
		require.Equal(t, program+" v9.8.7\n", string(said))
	}
	info, err := os.Stat(filepath.Join(out, "data"))
	require.NoError(t, err)
	require.True(t, info.IsDir())
}

// TestDockerfile: BuildKit takes the file and its linter finds nothing.
func TestDockerfile(t *testing.T) {
	text, err := os.ReadFile("../../Dockerfile")
	require.NoError(t, err)
	file, err := parser.Parse(bytes.NewReader(text))
	require.NoError(t, err)
	require.Empty(t, file.Warnings)
	var found []string
	lint := linter.New(&linter.Config{Warn: func(rule, description, url, message string, _ []parser.Range) {
		found = append(found, rule+": "+message)
	}})
	stages, _, err := instructions.Parse(file.AST, lint)
	require.NoError(t, err)
	require.Empty(t, found)
	require.Len(t, stages, 2)
	require.Regexp(t, `^golang:\d+\.\d+\.\d+-`, stages[0].BaseName, "the version is pinned")
	last := stages[1]
	require.Equal(t, "scratch", last.BaseName)
	done := make(map[string]bool)
	for _, c := range last.Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			require.Equal(t, "65532:65532", c.User)
		case *instructions.HealthCheckCommand:
			require.Equal(t, []string{"CMD", "/kvd", "health"}, c.Health.Test)
		case *instructions.EntrypointCommand:
			require.Equal(t, []string{"/kvd"}, []string(c.CmdLine))
		}
		done[strings.ToLower(c.Name())] = true
	}
	for _, name := range []string{"user", "healthcheck", "entrypoint", "label", "volume", "expose"} {
		require.True(t, done[name], name)
	}
}
