package resp

import (
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// What the server tells of itself: INFO and CONFIG.

const (
	serverName = "kv"
	// redisVersion is what clients take the server for that look which commands it has: the last one before modules
	// were part of Redis.
	redisVersion = "7.4.0"
)

// figures are the server's figures by name.
func (t *talk) figures() map[string]uint64 {
	all := make(map[string]uint64)
	for _, s := range t.client.Stats() {
		all[s.Name] = s.Value
	}
	all["expired"] += t.door.expired.Load()
	return all
}

// infoSections are those of INFO, in its order.
var infoSections = []struct {
	name string
	text func(t *talk, f map[string]uint64) string
}{

	{"Server", func(t *talk, f map[string]uint64) string {
		up := f["uptime_seconds"]
		return fmt.Sprintf("redis_version:%s\r\nserver_name:%s\r\nkvd_version:%s\r\nredis_mode:standalone\r\nos:%s\r\narch_bits:64\r\ngo_version:%s\r\n"+
			"uptime_in_seconds:%d\r\nuptime_in_days:%d\r\n", redisVersion, serverName, t.client.Server().Name(), runtime.GOOS, runtime.Version(), up, up/86_400)
	}},
	{"Clients", func(t *talk, f map[string]uint64) string {
		return fmt.Sprintf("connected_clients:%d\r\nblocked_clients:0\r\n", f["connections"])
	}},
	{"Memory", func(t *talk, f map[string]uint64) string {
		return fmt.Sprintf("used_memory:%d\r\nused_memory_human:%s\r\nused_memory_dataset:%d\r\nmaxmemory:%d\r\nmaxmemory_human:%s\r\nmaxmemory_policy:%s\r\nmem_allocator:go\r\n",
			f["memory_bytes"], human(f["memory_bytes"]), f["data_memory_bytes"], f["memory_limit_bytes"], human(f["memory_limit_bytes"]), t.settings()["maxmemory-policy"])
	}},
	{"Persistence", func(t *talk, f map[string]uint64) string {
		enabled, status, snapshot := 0, "ok", "ok"
		if f["sync_policy"] > 0 {
			enabled = 1
		}
		if f["read_only"] > 0 {
			status = "err"
		}
		if f["snapshot_failing"] > 0 {
			snapshot = "err"
		}
		return fmt.Sprintf("loading:0\r\nrdb_bgsave_in_progress:0\r\nrdb_last_save_time:%d\r\nrdb_last_bgsave_status:%s\r\naof_enabled:%d\r\naof_rewrite_in_progress:0\r\n"+
			"aof_last_write_status:%s\r\naof_current_size:%d\r\n", lastSaveOf(f), snapshot, enabled, status, f["log_bytes"])
	}},
	{"Stats", func(t *talk, f map[string]uint64) string {
		return fmt.Sprintf("total_connections_received:%d\r\ntotal_commands_processed:%d\r\ntotal_net_input_bytes:%d\r\ntotal_net_output_bytes:%d\r\nrejected_connections:%d\r\n"+
			"expired_keys:%d\r\nevicted_keys:%d\r\nkeyspace_hits:%d\r\nkeyspace_misses:%d\r\nacl_access_denied_auth:%d\r\n",
			f["connections_total"], f["requests"], f["bytes_in"], f["bytes_out"], f["connections_refused"], f["expired"], f["evicted"], f["hits"], f["misses"], f["login_failures"])
	}},
	{"Replication", func(t *talk, _ map[string]uint64) string {
		if leads, leader := t.leads(); !leads {
			host, port, _ := net.SplitHostPort(leader)
			return fmt.Sprintf("role:slave\r\nmaster_host:%s\r\nmaster_port:%s\r\nconnected_slaves:0\r\n", host, port)
		}
		return fmt.Sprintf("role:master\r\nconnected_slaves:%d\r\n", max(len(t.client.Server().Cluster().Members), 1)-1)
	}},
	{"Cluster", func(*talk, map[string]uint64) string { return "cluster_enabled:0\r\n" }},
	{"Keyspace", func(t *talk, f map[string]uint64) string {
		if f["keys"] == 0 {
			return ""
		}
		return fmt.Sprintf("db0:keys=%d,expires=%d,avg_ttl=0\r\n", f["keys"], f["expiring_keys"])
	}},
}

// human writes a number of bytes for people.
func human(n uint64) string {
	units, v := "BKMGTP", float64(n)
	for len(units) > 1 && v >= 1024 {
		units, v = units[1:], v/1024
	}
	if units[0] == 'B' {
		return fmt.Sprintf("%dB", n)
	}
	return fmt.Sprintf("%.2f%c", v, units[0])
}

func info(t *talk, args [][]byte) {
	wanted := func(name string) bool {
		return len(args) == 1 || slices.ContainsFunc(args[1:], func(arg []byte) bool {
			return equalFold(arg, strings.ToLower(name)) || equalFold(arg, "all") || equalFold(arg, "default") ||
				equalFold(arg, "everything")
		})
	}
	var text strings.Builder
	f := t.figures()
	if before := t.door.counted.Load(); before != nil {
		for _, name := range resettable {
			f[name] -= (*before)[name]
		}
	}
	for _, s := range infoSections {
		if !wanted(s.name) {
			continue
		}
		if text.Len() > 0 {
			text.WriteString(crlf)
		}
		text.WriteString("# " + s.name + crlf + s.text(t, f))
	}
	t.verbatim(text.String())
}

// resettable are the figures that INFO counts from the last CONFIG RESETSTAT on. STATS and /metrics don't know of that.
var resettable = []string{
	"connections_total", "requests", "bytes_in", "bytes_out", "connections_refused", "expired", "evicted", "hits", "misses", "login_failures",
}

func configResetStat(t *talk, _ [][]byte) {
	f := t.figures()
	t.door.counted.Store(&f)
	t.ok()
}

// settings are what CONFIG GET has.
func (t *talk) settings() map[string]string {
	f := t.figures()
	appendOnly, appendSync := "no", "everysec"
	if f["sync_policy"] > 0 {
		appendOnly, appendSync = "yes", []string{"no", "everysec", "always"}[min(f["sync_policy"], 3)-1]
	}
	all := map[string]string{
		"appendfsync":        appendSync,
		"appendonly":         appendOnly,
		"databases":          "1",
		"maxmemory":          strconv.FormatUint(f["memory_limit_bytes"], 10),
		"maxmemory-policy":   "noeviction",
		"proto-max-bulk-len": strconv.FormatUint(f["request_limit_bytes"], 10),
		"requirepass":        "",
		"save":               "",
		"timeout":            "0",
	}
	if t.door.options.Settings != nil {
		maps.Copy(all, t.door.options.Settings())
	}
	return all
}

func configGet(t *talk, args [][]byte) {
	all := t.settings()
	var found []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if slices.ContainsFunc(args[2:], func(pattern []byte) bool {
			return globMatch([]byte(strings.ToLower(string(pattern))), []byte(name))
		}) {
			found = append(found, name)
		}
	}
	t.dict(len(found))
	for _, name := range found {
		t.text(name)
		t.text(all[name])
	}
}

func configSet(t *talk, args [][]byte) {
	if len(args)%2 != 0 {
		t.err("ERR wrong number of arguments for 'config|set' command")
		return
	}
	all := t.settings()
	for i := 2; i < len(args); i += 2 {
		name := strings.ToLower(string(args[i]))
		switch was, known := all[name]; {
		case !known:
			t.err("ERR Unknown option or number of arguments for CONFIG SET - '" + string(args[i]) + "'")
			return
		case was != string(args[i+1]):
			t.err("ERR CONFIG SET failed (possibly related to argument '" + name +
				"') - settings are options of kvd: start it with others")
			return
		}
	}
	t.ok()
}

func configRewrite(t *talk, _ [][]byte) { t.err("ERR The server is running without a config file") }
