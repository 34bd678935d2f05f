package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kv/protocol"
	"kv/protocol/client"
)

// TestRollingRestart: while one node after the other is ended and started again, no request fails of clients that know
// all of them, and none of what was acknowledged is lost.
func TestRollingRestart(t *testing.T) {
	all := startCluster(t, 3)
	addresses := all[0].listen + "," + all[1].listen + "," + all[2].listen
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	var acked [4]atomic.Int64
	for i := range acked {
		p := client.NewPool(addresses, client.PoolOptions{})
		defer p.Close()
		clients.Go(func() {
			key := fmt.Appendf(nil, "k%d", i)
			for n := int64(1); ctx.Err() == nil; n++ {
				if _, err := p.Set(t.Context(), protocol.Set{Key: key, Value: fmt.Append(nil, n)}); err != nil {
					t.Errorf("SET %d of client %d: %v", n, i, err)
					return
				}
				acked[i].Store(n)
				v, err := p.Get(t.Context(), key)
				if err != nil || string(v.Data) != fmt.Sprint(n) {
					t.Errorf("GET after SET %d of client %d: %q, %v", n, i, v.Data, err)
					return
				}
			}
		})
	}
	// progress waits until each client has had some more answers.
	progress := func() {
		for i := range acked {
			from := acked[i].Load()
			require.Eventually(t, func() bool { return t.Failed() || acked[i].Load() > from+20 }, time.Minute, time.Millisecond)
		}
	}
	progress()
	for range 2 {
		for _, m := range all {
			m.signal(syscall.SIGTERM)
			progress()
			m.start()
			leader(t, all)
			progress()
		}
	}
	before := leader(t, all)
	s, err := before.status()
	require.NoError(t, err)
	c, err := client.Dial(t.Context(), before.listen, client.Options{Timeout: 20 * time.Second})
	require.NoError(t, err)
	for _, m := range s.Members { // and where it is asked to lead, each of them
		require.NoError(t, c.Member(t.Context(), protocol.Member{Change: protocol.MemberTransfer, ID: m.ID}))
		progress()
	}
	require.NoError(t, c.Close())
	cancel()
	clients.Wait()
	for i := range acked {
		for _, m := range all {
			require.Equal(t, fmt.Sprint(acked[i].Load()), m.get(fmt.Sprintf("k%d", i)))
		}
	}
}

// TestImportAcrossARollingRestart: an import goes on while the node that leads is ended and started again, the one that
// kvc has connected to first among them; it ends well, and the last value of each key is there.
func TestImportAcrossARollingRestart(t *testing.T) {
	const keys = 1000
	all := startCluster(t, 3)
	kvc := exec.Command(kvcBinary(t), "--addr", all[0].listen+","+all[1].listen+","+all[2].listen, "import", "-")
	in, err := kvc.StdinPipe()
	require.NoError(t, err)
	var stderr strings.Builder
	kvc.Stderr = &stderr
	require.NoError(t, kvc.Start())
	var written atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writer sync.WaitGroup
	writer.Go(func() {
		defer in.Close()
		for n := int64(0); ctx.Err() == nil; n++ {
			if _, err := fmt.Fprintf(in, "k%d\t%d\n", n%keys, n); err != nil {
				return // kvc has ended
			}
			written.Store(n + 1)
		}
	})
	progress := func() { // more than can be under way
		from := written.Load()
		require.Eventually(t, func() bool { return written.Load() > from+20_000 }, time.Minute, time.Millisecond)
	}
	progress()
	for range 3 {
		leads := leader(t, all)
		leads.signal(syscall.SIGTERM)
		progress()
		leads.start()
		leader(t, all)
	}
	cancel()
	writer.Wait()
	require.NoError(t, kvc.Wait(), stderr.String())
	n := written.Load()
	require.Contains(t, stderr.String(), fmt.Sprintf("%d records applied of %d lines", n, n))
	for i := n - keys; i < n; i++ {
		require.Equal(t, fmt.Sprint(i), all[0].get(fmt.Sprintf("k%d", i%keys)))
	}
}

// TestGrowAndShrink: a fourth node joins and becomes a voter by itself, /metrics and /readyz say so, and one that is
// removed is none any more, after it has handed over if it led.
func TestGrowAndShrink(t *testing.T) {
	all := startCluster(t, 3)
	written(t, all, "a", "1")
	fourth := &member{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t), peers: all[0].peers}
	fourth.start("--http", freeAddress(t))
	all = append(all, fourth)
	voters := func(n int) {
		require.Eventually(t, func() bool {
			s, err := leader(t, all).status()
			count := 0
			for _, m := range s.Members {
				if m.Role == protocol.Voter && m.Reachable {
					count++
				}
			}
			return err == nil && count == n && len(s.Members) == n
		}, time.Minute, 20*time.Millisecond)
	}
	voters(4)
	require.Equal(t, "1", fourth.get("a"))
	status, body := fourth.p.get("/readyz")
	require.Equal(t, 200, status, body)
	_, body = fourth.p.get("/metrics")
	for _, line := range []string{"kv_cluster_leads 0\n", "kv_cluster_has_leader 1\n", "kv_cluster_voters 4\n", "kv_cluster_learners 0\n", "kv_cluster_spare_voters 1\n", `",peer="` + fourth.peer + `"} 1`, "kv_cluster_member_round_trip_seconds{", "kv_sync_seconds_count "} {
		require.Contains(t, body, line)
	}
	for _, name := range []string{"term", "committed", "published"} {
		require.Regexp(t, "kv_cluster_"+name+" [1-9]", body)
	}

	leads := leader(t, all)
	s, err := leads.status()
	require.NoError(t, err)
	c, err := client.Dial(t.Context(), leads.listen+","+fourth.listen, client.Options{Timeout: 20 * time.Second})
	require.NoError(t, err)
	defer c.Close()
	remove := protocol.Member{Change: protocol.MemberRemove, ID: s.Node}
	require.ErrorContains(t, c.Member(t.Context(), remove), "cluster transfer")
	to := s.Members[0].ID
	if to == s.Node {
		to = s.Members[1].ID
	}
	require.NoError(t, c.Member(t.Context(), protocol.Member{Change: protocol.MemberTransfer, ID: to}))
	require.NoError(t, c.Member(t.Context(), remove))
	require.Eventually(t, func() bool {
		c, err := leads.dial(20 * time.Second)
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Get(t.Context(), []byte("a"))
		return err != nil && strings.Contains(err.Error(), "this node was removed from its cluster")
	}, time.Minute, 20*time.Millisecond)
	require.NoError(t, leads.set("a", "2"), "it knows who leads, and sends writes on")
	leads.signal(syscall.SIGTERM)
	voters(3)
	written(t, all, "b", "2")
	require.Equal(t, "2", fourth.get("b"))
}

// TestPeersProveThemselves: nodes with certificates of one authority are a cluster, and one that has a certificate of
// its own making does not come in.
func TestPeersProveThemselves(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir+"/cert", dir+"/key")
	writeCertificate(t, dir+"/other.cert", dir+"/other.key")
	all := []*member{{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t)},
		{t: t, dir: t.TempDir(), listen: freeAddress(t), peer: freeAddress(t)}}
	for _, m := range all {
		m.peers = all[0].peer + "," + all[1].peer
		m.start("--peer-tls-cert", dir+"/cert", "--peer-tls-key", dir+"/key", "--peer-tls-ca", dir+"/cert")
	}
	written(t, all, "a", "1")
	require.Equal(t, "1", all[1].get("a"))

	p := launch(t, exec.Command("kvd", "--listen", freeAddress(t), "--data", t.TempDir(), "--sync", "always",
		"--peer-listen", freeAddress(t), "--peers", all[0].peers,
		"--peer-tls-cert", dir+"/other.cert", "--peer-tls-key", dir+"/other.key", "--peer-tls-ca", dir+"/cert"))
	refused := false
	for line := range p.lines {
		if err, _ := line["error"].(string); strings.Contains(err, "certificate") {
			refused = true
			break
		}
	}
	require.True(t, refused, "it has ended")
	s, err := leader(t, all).status()
	require.NoError(t, err)
	require.Len(t, s.Members, 2)

	// A certificate that is renewed is used by the next connection, without a word; one that is no good is not.
	writeCertificate(t, dir+"/cert", dir+"/key")
	all[1].signal(syscall.SIGTERM)
	all[1].start("--peer-tls-cert", dir+"/cert", "--peer-tls-key", dir+"/key", "--peer-tls-ca", dir+"/cert")
	written(t, all, "b", "2")
	require.Equal(t, "2", all[1].get("b"))
	all[0].logged("the peers' certificate was read again")
	require.NoError(t, os.WriteFile(dir+"/cert", []byte("no certificate"), 0o600))
	all[1].signal(syscall.SIGKILL)
	require.Contains(t, all[0].logged("the peers' certificate that was in force stays")["error"], "--peer-tls-cert")
	writeCertificate(t, dir+"/cert", dir+"/key")
	all[1].start("--peer-tls-cert", dir+"/cert", "--peer-tls-key", dir+"/key", "--peer-tls-ca", dir+"/cert")
	written(t, all, "c", "3")
}
