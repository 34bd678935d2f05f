package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
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
	disruption "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// manifests is what a file for Kubernetes has.
type manifests struct {
	set          apps.StatefulSet
	services     map[string]core.Service
	policy       networking.NetworkPolicy
	budget       *disruption.PodDisruptionBudget // nil: it has none
	issuers      []string
	certificates map[string]certificate
}

// certificate is cert-manager's Certificate, as far as it is used.
type certificate struct {
	APIVersion, Kind string
	Metadata         struct{ Name, Namespace string }
	Spec             struct {
		IsCA                  bool
		CommonName            string
		SecretName            string
		Duration, RenewBefore string
		DNSNames              []string
		Usages                []string
		PrivateKey            struct {
			Algorithm      string
			Size           int
			RotationPolicy string
		}
		IssuerRef struct{ Name, Kind string }
	}
}

// readManifests reads files for Kubernetes, each manifest of which has the fields that its kind has, and no others.
func readManifests(t *testing.T, names ...string) (m manifests) {
	m.services, m.certificates = map[string]core.Service{}, map[string]certificate{}
	for _, name := range names {
		text, err := os.ReadFile(deploy + "/kubernetes/" + name)
		require.NoError(t, err)
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			var head struct {
				APIVersion, Kind string
				Metadata         struct{ Name string }
			}
			require.NoError(t, yaml.Unmarshal([]byte(document), &head))
			var into any
			switch head.APIVersion + " " + head.Kind {
			case "v1 Service":
				var s core.Service
				require.NoError(t, yaml.UnmarshalStrict([]byte(document), &s))
				m.services[s.Name] = s
				continue
			case "cert-manager.io/v1 Certificate":
				var c certificate
				require.NoError(t, yaml.UnmarshalStrict([]byte(document), &c))
				m.certificates[c.Metadata.Name] = c
				continue
			case "cert-manager.io/v1 Issuer":
				m.issuers = append(m.issuers, head.Metadata.Name)
				continue
			case "apps/v1 StatefulSet":
				into = &m.set
			case "networking.k8s.io/v1 NetworkPolicy":
				into = &m.policy
			case "policy/v1 PodDisruptionBudget":
				m.budget = new(disruption.PodDisruptionBudget)
				into = m.budget
			default:
				require.Fail(t, "a kind that is not checked", "%+v", head)
			}
			require.NoError(t, yaml.UnmarshalStrict([]byte(document), into))
		}
	}
	return m
}

// TestKubernetes: each manifest has the fields that its kind has, and no others, and the parts fit each other.
func TestKubernetes(t *testing.T) {
	for _, tt := range []struct {
		file  string
		nodes int32
		ports map[string]int32
	}{
		{"kv.yaml", 1, map[string]int32{"kv": 7070, "http": 7071}},
		{"cluster.yaml", 3, map[string]int32{"kv": 7070, "http": 7071, "peers": 7072}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			m := readManifests(t, tt.file)
			set, pod := m.set, m.set.Spec.Template
			require.Equal(t, tt.nodes, *set.Spec.Replicas)
			require.Equal(t, set.Spec.Selector.MatchLabels, pod.Labels)
			require.Equal(t, pod.Labels, m.policy.Spec.PodSelector.MatchLabels)
			kvd := pod.Spec.Containers[0]
			ports := make(map[string]int32)
			for _, p := range kvd.Ports {
				ports[p.Name] = p.ContainerPort
			}
			require.Equal(t, tt.ports, ports)
			for name, s := range m.services {
				require.Equal(t, set.Namespace, s.Namespace)
				require.Equal(t, pod.Labels, s.Spec.Selector)
				for _, p := range s.Spec.Ports {
					require.Contains(t, ports, p.TargetPort.String())
					require.NotEqual(t, "http", p.TargetPort.String(), "the pages are in no Service")
					require.Equal(t, ports[p.TargetPort.String()], p.Port, "a name has the port that --advertise says")
				}
				headless := name == set.Spec.ServiceName
				require.Equal(t, headless, s.Spec.ClusterIP == core.ClusterIPNone, name)
				require.Equal(t, headless, s.Spec.PublishNotReadyAddresses,
					"%s: the nodes find each other before they are ready, clients them when they are", name)
			}
			require.Len(t, m.services, 2)
			require.Contains(t, m.services, set.Spec.ServiceName)
			require.Equal(t, "/livez", kvd.LivenessProbe.HTTPGet.Path)
			require.Equal(t, "/readyz", kvd.ReadinessProbe.HTTPGet.Path)
			require.GreaterOrEqual(t, kvd.ReadinessProbe.TimeoutSeconds, int32(2), "/readyz takes up to a second")
			require.Nil(t, kvd.StartupProbe)
			require.Contains(t, ports, kvd.LivenessProbe.HTTPGet.Port.String())
			require.Contains(t, ports, kvd.ReadinessProbe.HTTPGet.Port.String())
			require.Equal(t, kvd.Resources.Limits.Memory(), kvd.Resources.Requests.Memory())
			require.True(t, *kvd.SecurityContext.ReadOnlyRootFilesystem)
			require.False(t, *kvd.SecurityContext.AllowPrivilegeEscalation)
			require.Equal(t, []core.Capability{"ALL"}, kvd.SecurityContext.Capabilities.Drop)
			require.EqualValues(t, 65532, *pod.Spec.SecurityContext.RunAsUser)
			require.True(t, *pod.Spec.SecurityContext.RunAsNonRoot)

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
			grace, needed := *pod.Spec.TerminationGracePeriodSeconds, int64(20) // --drain twice
			if kvd.Lifecycle != nil {
				needed += kvd.Lifecycle.PreStop.Sleep.Seconds + 2 // and to hand leadership over
			}
			require.Greater(t, grace, needed)
		})
	}
}

// TestKubernetesCluster: what makes three pods a cluster.
func TestKubernetesCluster(t *testing.T) {
	m := readManifests(t, "cluster.yaml", "certificates.yaml")
	set, pod := m.set, m.set.Spec.Template
	require.Equal(t, apps.ParallelPodManagement, set.Spec.PodManagementPolicy)
	require.EqualValues(t, 1, m.budget.Spec.MaxUnavailable.IntValue())
	require.Equal(t, pod.Labels, m.budget.Spec.Selector.MatchLabels)
	apart := pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	require.Equal(t, "kubernetes.io/hostname", apart[0].TopologyKey)
	require.Equal(t, pod.Labels, apart[0].LabelSelector.MatchLabels)
	require.Equal(t, pod.Labels, pod.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels)
	require.NotNil(t, pod.Spec.Containers[0].Lifecycle)

	// The certificate is for the host of each node's address, and in the Secret that is mounted.
	peers := m.certificates["kv-peers"]
	require.ElementsMatch(t, []string{"digital signature", "server auth", "client auth"}, peers.Spec.Usages)
	require.True(t, m.certificates["kv-peers-ca"].Spec.IsCA)
	for name, c := range m.certificates {
		require.Equal(t, set.Namespace, c.Metadata.Namespace)
		require.Contains(t, m.issuers, c.Spec.IssuerRef.Name, name)
	}
	secrets := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		secrets[v.Secret.SecretName] = true
	}
	require.True(t, secrets[peers.Spec.SecretName])
	for i := range int(*set.Spec.Replicas) {
		args := argsOf(t, set, i)
		host := fmt.Sprintf("%s-%d.%s.%s.svc", set.Name, i, set.Spec.ServiceName, set.Namespace)
		require.Equal(t, host+":7070,"+host+":7072", args["--advertise"])
		require.Contains(t, strings.Split(args["--peers"], ","), host+":7072")
		_, rest, _ := strings.Cut(host, ".")
		require.Equal(t, []string{"*." + rest}, peers.Spec.DNSNames)
	}
}

// argsOf are the options of the pod with this number, with the variables that its file names in their place.
func argsOf(t *testing.T, set apps.StatefulSet, number int) map[string]string {
	kvd := set.Spec.Template.Spec.Containers[0]
	values := []string{}
	for _, e := range kvd.Env {
		require.Equal(t, "metadata.name", e.ValueFrom.FieldRef.FieldPath, e.Name)
		values = append(values, "$("+e.Name+")", fmt.Sprintf("%s-%d", set.Name, number))
	}
	args := make(map[string]string)
	for _, a := range kvd.Args {
		name, value, ok := strings.Cut(strings.NewReplacer(values...).Replace(a), "=")
		require.True(t, ok, a)
		require.NotContains(t, value, "$(", "a variable that is not there")
		args[name] = value
	}
	return args
}

// TestCompose: compose takes the file, and the files that it mounts are there.
func TestCompose(t *testing.T) {
	for file, servers := range map[string][]string{"compose.yaml": {"kv"}, "cluster.yaml": {"kv-1", "kv-2", "kv-3"}} {
		t.Run(file, func(t *testing.T) {
			options, err := cli.NewProjectOptions([]string{deploy + "/compose/" + file}, cli.WithResolvedPaths(true))
			require.NoError(t, err)
			project, err := options.LoadProject(context.Background())
			require.NoError(t, err)
			require.ElementsMatch(t, append([]string{"prometheus", "grafana"}, servers...),
				slices.Collect(maps.Keys(project.Services)))
			scraped := ""
			for name, service := range project.Services {
				for _, v := range service.Volumes {
					if v.Type == "bind" {
						text, err := os.ReadFile(v.Source)
						if err == nil && v.Target == "/etc/prometheus/prometheus.yml" {
							scraped = string(text)
						}
						_, err = os.Stat(v.Source)
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
			for _, name := range servers {
				require.Contains(t, scraped, `"`+name+`:7071"`, "Prometheus asks each")
				if len(servers) > 1 {
					env := project.Services[name].Environment
					require.Equal(t, name+":7070,"+name+":7072", *env["KVD_ADVERTISE"])
					require.Contains(t, strings.Split(*env["KVD_PEERS"], ","), name+":7072")
					require.Equal(t, ":7072", *env["KVD_PEER_LISTEN"])
				}
			}
		})
	}
}

// TestDockerfileBuilds: what .dockerignore leaves of the sources is enough for the command that Dockerfile builds the
// programs with.
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
