package deploy_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
)

// The pods of kubernetes/cluster.yaml, as far as a machine without a container engine can have them: each a network
// namespace of its own with an address of its own, the image's files on a root that can't be written to, the
// StatefulSet's options and user, the Secrets and a volume. Names are in each pod's /etc/hosts, and change when a pod
// gets another address.

// pods are those of a StatefulSet.
type pods struct {
	t       *testing.T
	set     apps.StatefulSet
	dir     string
	network string // the name of the network namespace with the bridge between them
	last    int    // of the addresses that were given
	all     []*pod
}

type pod struct {
	of        *pods
	number    int
	name      string // also of its network namespace, behind the bridge's
	root      string
	address   string
	cmd       *exec.Cmd // nil: it does not run
	ended     chan struct{}
	log       *output
	namespace string
}

// output is what a process has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// run runs a command that does its work.
func run(t *testing.T, name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %q: %s", name, args, out)
	return string(out)
}

// canHavePods reports whether network namespaces can be made here; where that must be, it is an error if not.
func canHavePods(t *testing.T) bool {
	name := fmt.Sprintf("kv-try-%d", os.Getpid())
	out, err := exec.Command("sh", "-ec", "command -v setpriv chroot; ip netns add "+name+"; ip -n "+name+" link add name b0 type bridge; ip netns exec "+name+" mount -t tmpfs tmpfs /mnt; ip netns del "+name).CombinedOutput()
	if err == nil {
		return true
	}
	exec.Command("ip", "netns", "del", name).Run()
	require.Equal(t, "if-possible", os.Getenv("HOSTING"), "no pods can be made here, which takes root, ip and setpriv, so nothing shows that cluster.yaml makes a cluster: %s", out)
	t.Logf("LEFT OUT: nothing shows that cluster.yaml makes a cluster, since no network namespaces can be made here: %s", out)
	return false
}

// newPods makes what the pods of the file have in common, and starts none.
func newPods(t *testing.T) *pods {
	m := readManifests(t, "cluster.yaml", "certificates.yaml")
	p := &pods{t: t, set: m.set, dir: t.TempDir(), network: fmt.Sprintf("kv%d", os.Getpid())}
	require.NoError(t, os.Chmod(p.dir, 0o755))
	build := exec.Command("go", "build", "-o", p.dir+"/", "./cmd/...")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	run(t, "ip", "netns", "add", p.network)
	t.Cleanup(func() {
		for _, x := range p.all {
			x.kill(syscall.SIGKILL)
		}
		run(t, "ip", "netns", "del", p.network)
	})
	run(t, "ip", "-n", p.network, "link", "add", "name", "kv", "type", "bridge")
	run(t, "ip", "-n", p.network, "link", "set", "kv", "up")

	users := exec.Command(p.dir+"/kvd", "token", "app")
	secret := new(bytes.Buffer)
	users.Stderr = secret
	line, err := users.Output()
	require.NoError(t, err)
	key, cert, ca := authority(t, m.certificates["kv-peers"])
	secrets := map[string]map[string][]byte{
		"kv-users": {"users": line},
		"kv-peers": {"tls.crt": cert, "tls.key": key, "ca.crt": ca},
	}
	spec := p.set.Spec.Template.Spec
	for i := range int(*p.set.Spec.Replicas) {
		x := &pod{of: p, number: i, name: fmt.Sprintf("%s-%d", p.set.Name, i), log: new(output)}
		x.root, x.namespace = filepath.Join(p.dir, x.name), p.network+"-"+x.name
		for _, dir := range []string{"proc", "etc", "data"} {
			require.NoError(t, os.MkdirAll(filepath.Join(x.root, dir), 0o755))
		}
		for _, name := range []string{"kvd", "kvc"} {
			require.NoError(t, os.Link(filepath.Join(p.dir, name), filepath.Join(x.root, name)))
		}
		require.NoError(t, os.WriteFile(x.root+"/etc/secret", secret.Bytes(), 0o644)) // the client's
		for _, v := range spec.Volumes {
			at := ""
			for _, m := range spec.Containers[0].VolumeMounts {
				if m.Name == v.Name {
					at = filepath.Join(x.root, m.MountPath)
				}
			}
			require.NotEmpty(t, at, v.Name)
			require.NoError(t, os.MkdirAll(at, 0o755))
			for name, text := range secrets[v.Secret.SecretName] {
				path := filepath.Join(at, name)
				require.NoError(t, os.WriteFile(path, text, os.FileMode(*v.Secret.DefaultMode)))
				require.NoError(t, os.Chown(path, 0, int(*spec.SecurityContext.FSGroup)))
			}
		}
		require.NoError(t, os.Chown(x.root+"/data", 0, int(*spec.SecurityContext.FSGroup)))
		require.NoError(t, os.Chmod(x.root+"/data", 0o2775))
		p.all = append(p.all, x)
	}
	return p
}

// authority makes what cert-manager would for a Certificate: its key, itself, and the authority that it is from.
func authority(t *testing.T, c certificate) (key, cert, ca []byte) {
	sign := func(x, by *x509.Certificate, pub *ecdsa.PublicKey, with *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, x, by, pub, with)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		return k
	}
	until := time.Now().Add(time.Hour)
	caKey, ownKey := newKey(), newKey()
	issuer := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kv peers"}, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	own := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: c.Spec.DNSNames, NotAfter: until}
	for _, usage := range c.Spec.Usages {
		switch usage {
		case "digital signature":
			own.KeyUsage |= x509.KeyUsageDigitalSignature
		case "server auth":
			own.ExtKeyUsage = append(own.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		case "client auth":
			own.ExtKeyUsage = append(own.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(ownKey)
	require.NoError(t, err)
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return key, sign(own, issuer, &ownKey.PublicKey, caKey), sign(issuer, issuer, &caKey.PublicKey, caKey)
}

// host is the name at which the others find the pod.
func (x *pod) host() string {
	return fmt.Sprintf("%s.%s.%s.svc", x.name, x.of.set.Spec.ServiceName, x.of.set.Namespace)
}

// schedule gives the pod an address that none has had.
func (x *pod) schedule() {
	p := x.of
	p.last++
	x.address = fmt.Sprintf("10.77.0.%d", p.last)
	link := fmt.Sprintf("kv%d", p.last)
	run(p.t, "ip", "netns", "add", x.namespace)
	run(p.t, "ip", "-n", p.network, "link", "add", "name", link, "type", "veth", "peer", "name", "eth0", "netns", x.namespace)
	run(p.t, "ip", "-n", p.network, "link", "set", link, "master", "kv", "up")
	run(p.t, "ip", "-n", x.namespace, "addr", "add", x.address+"/24", "dev", "eth0")
	run(p.t, "ip", "-n", x.namespace, "link", "set", "eth0", "up")
	run(p.t, "ip", "-n", x.namespace, "link", "set", "lo", "up")
	hosts := "127.0.0.1 localhost\n"
	for _, other := range p.all {
		if other.address != "" {
			hosts += other.address + " " + other.host() + "\n"
		}
	}
	for _, other := range p.all {
		require.NoError(p.t, os.WriteFile(other.root+"/etc/hosts", []byte(hosts), 0o644))
	}
}

// command is one in the pod, as its user, without rights, on a root that can't be written to but for its volumes.
func (x *pod) command(args ...string) *exec.Cmd {
	user := *x.of.set.Spec.Template.Spec.SecurityContext
	script := `mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; mount --bind "$1" "$0/data"; mount -o remount,bind,rw "$0/data"; mount --rbind /proc "$0/proc"; root=$0; shift
exec env -i "$(command -v setpriv)" --inh-caps=-all --no-new-privs "$(command -v chroot)" --userspec=` +
		fmt.Sprintf("%d:%d --groups=%d", *user.RunAsUser, *user.RunAsGroup, *user.FSGroup) + ` "$root" "$@"`
	return exec.Command("ip", append([]string{"netns", "exec", x.namespace, "sh", "-ec", script, x.root,
		x.root + "/data"}, args...)...)
}

// start starts the pod's container.
func (x *pod) start() {
	args := []string{"/kvd"}
	for name, value := range argsOf(x.of.t, x.of.set, x.number) {
		args = append(args, name+"="+value)
	}
	x.cmd, x.ended = x.command(args...), make(chan struct{})
	x.cmd.Stderr = x.log
	require.NoError(x.of.t, x.cmd.Start())
	cmd, ended := x.cmd, x.ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
}

// kill ends the pod, and with it its address, and returns how it ended.
func (x *pod) kill(s syscall.Signal) (code int) {
	if x.cmd == nil {
		return 0
	}
	x.cmd.Process.Signal(s)
	select {
	case <-x.ended:
	case <-time.After(time.Duration(*x.of.set.Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second):
		x.cmd.Process.Kill()
		<-x.ended
	}
	code, x.cmd = x.cmd.ProcessState.ExitCode(), nil
	run(x.of.t, "ip", "netns", "del", x.namespace)
	return code
}

// is waits until the pod's probe is of this mind: --live is that of /livez, none that of /readyz.
func (x *pod) is(want bool, probe ...string) {
	x.of.t.Helper()
	var said []byte
	require.Eventually(x.of.t, func() bool {
		var err error
		said, err = x.command(append([]string{"/kvd", "health", "--http", argsOf(x.of.t, x.of.set, x.number)["--http"]},
			probe...)...).CombinedOutput()
		return (err == nil) == want
	}, time.Minute, 100*time.Millisecond, "%s %v: %s\n%s", x.name, probe, said, x.log)
}

// kvc runs a command of kvc in the pod, which asks these.
func (x *pod) kvc(of []*pod, args ...string) (string, error) {
	var hosts []string
	for _, other := range of {
		hosts = append(hosts, other.host())
	}
	cmd := x.command(append([]string{"/kvc", "--addr", strings.Join(hosts, ","), "--user", "app", "--secret-file",
		"/etc/secret"}, args...)...)
	said := new(bytes.Buffer)
	cmd.Stderr = said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, said)
	}
	return string(out), err
}

// leader is the pod that leads, as this one knows.
func (x *pod) leader() (leads *pod) {
	var status struct {
		Leader  uint64
		Members []struct {
			ID     uint64
			Client string
		}
	}
	require.Eventually(x.of.t, func() bool {
		out, err := x.kvc([]*pod{x}, "cluster", "status", "--json")
		if json.Unmarshal([]byte(out), &status) != nil {
			x.of.t.Log(out, err)
			return false
		}
		for _, m := range status.Members {
			for _, other := range x.of.all {
				if m.ID == status.Leader && m.Client == other.host()+":7070" {
					leads = other
				}
			}
		}
		return leads != nil && leads.cmd != nil
	}, time.Minute, 100*time.Millisecond)
	return leads
}

// TestPods: the pods of cluster.yaml found a cluster, and go on as one when a pod is killed, comes back with another
// address, when all are restarted in turn, and when a majority is gone for a while.
func TestPods(t *testing.T) {
	if !canHavePods(t) {
		return
	}
	p := newPods(t)
	write := func(by *pod, key string) {
		t.Helper()
		require.Eventually(t, func() bool {
			_, err := by.kvc(p.all, "--timeout", "10s", "set", key, "as written")
			if err != nil {
				t.Log(err)
			}
			return err == nil
		}, time.Minute, 100*time.Millisecond)
	}
	// For some seconds a pod may look for another where that was: /etc/hosts is read anew after five. So a read may
	// have to be tried again, as kvc says.
	reads := func(key string, by ...*pod) {
		t.Helper()
		for _, x := range by {
			var value string
			require.Eventually(t, func() bool {
				var err error
				value, err = x.kvc([]*pod{x}, "get", key)
				if err != nil {
					t.Log(x.name, err)
				}
				return err == nil
			}, time.Minute, 100*time.Millisecond, "%s: %s", x.name, x.log)
			require.Equal(t, "as written", value)
		}
	}
	back := func(x *pod) {
		t.Helper()
		x.schedule()
		x.start()
		x.is(true)
	}

	for _, x := range p.all {
		x.schedule()
	}
	for _, x := range p.all { // all at once
		x.start()
	}
	for _, x := range p.all {
		x.is(true)
		x.is(true, "--live")
		for line := range strings.Lines(x.log.String()) {
			var said struct{ Level, Msg string }
			require.NoError(t, json.Unmarshal([]byte(line), &said), line)
			require.True(t, said.Level == "INFO" || strings.HasPrefix(said.Msg, "secrets "), line) // which cross the network in the clear
		}
	}
	write(p.all[0], "first")
	reads("first", p.all...)

	// The machine of the one that leads is gone; it comes back elsewhere, with its volume.
	leads := p.all[0].leader()
	leads.kill(syscall.SIGKILL)
	others := slices.DeleteFunc(slices.Clone(p.all), func(x *pod) bool { return x == leads })
	write(others[0], "meanwhile")
	back(leads)
	reads("meanwhile", p.all...)
	require.NotEqual(t, leads, leads.leader(), "another was chosen")

	// kubectl rollout restart: one after the other, from the highest on.
	for _, x := range slices.Backward(p.all) {
		require.Zero(t, x.kill(syscall.SIGTERM), "%s", x.log)
		write(p.all[(x.number+1)%3], "restart of "+x.name)
		back(x)
		reads("restart of "+x.name, x)
	}

	// Without a majority who is left lives, and is not ready.
	p.all[1].kill(syscall.SIGKILL)
	p.all[2].kill(syscall.SIGKILL)
	p.all[0].is(false)
	p.all[0].is(true, "--live")
	p.all[1].schedule()
	p.all[2].schedule()
	p.all[1].start()
	p.all[2].start()
	for _, x := range p.all {
		x.is(true)
		reads("meanwhile", x)
	}
}
