package resp

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"kv/store"
)

// The commands about all keys, and about the server.

const (
	serverName = "kv"
	// redisVersion is what clients take the server for that look which commands it has: the last one before modules were part of Redis.
	redisVersion = "7.4.0"
)

func dbSize(t *talk, _ [][]byte) { t.int(int64(t.session.Stats().Keys)) }

// cursorSize is that of the store's cursors: the store's instance, and a number.
const cursorSize = 16

// storeCursor returns the store's form of a cursor of SCAN; nil: the beginning.
func (t *talk) storeCursor(n uint64) []byte {
	if n == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, cursorSize), t.client.Server().Store().Instance())
	return binary.BigEndian.AppendUint64(b, n)
}

// scanCursor returns SCAN's form of a cursor of the store; 0: the end.
func scanCursor(next []byte) uint64 {
	if len(next) != cursorSize {
		return 0
	}
	return binary.BigEndian.Uint64(next[8:])
}

const (
	// defaultScan and maxScan are how many keys SCAN looks at.
	defaultScan = 10
	maxScan     = 10_000
)

func scan(t *talk, args [][]byte) {
	cursor, ok := parseUint(args[1])
	if !ok {
		t.err("ERR invalid cursor")
		return
	}
	count, pattern, ofType := int64(defaultScan), []byte(nil), true
	for i := 2; i < len(args); i += 2 {
		if i+1 == len(args) {
			t.err(errSyntax)
			return
		}
		switch value := args[i+1]; {
		case equalFold(args[i], "count"):
			if count, ok = parseInt(value); !ok {
				t.err(errNotInt)
				return
			}
			if count < 1 {
				t.err(errSyntax)
				return
			}
		case equalFold(args[i], "match"):
			pattern = value
		case equalFold(args[i], "type"):
			if ofType = equalFold(value, "string"); !ofType && !knownType(value) {
				t.err("ERR unknown type name '" + string(value) + "'")
				return
			}
		default:
			t.err(errSyntax)
			return
		}
	}
	page, err := t.session.Scan(t.storeCursor(cursor), store.ScanOptions{Limit: int(min(count, maxScan))})
	if err != nil {
		t.fail(err)
		return
	}
	matching := page.Entries[:0]
	for _, e := range page.Entries {
		if ofType && (pattern == nil || globMatch(pattern, e.Key())) {
			matching = append(matching, e)
		}
	}
	next := strconv.FormatUint(scanCursor(page.Next), 10)
	size := len("*2\r\n") + bulkSize(len(next)) + listSize(matching)
	if size >= longString && !t.stream(size, 0) {
		return
	}
	t.array(2)
	t.text(next)
	t.keyList(matching)
}

// knownType reports whether Redis has such a type, which no key here has.
func knownType(name []byte) bool {
	return slices.ContainsFunc([]string{"list", "set", "zset", "hash", "stream"}, func(s string) bool { return equalFold(name, s) })
}

// listSize is how long an array of the keys of entries is.
func listSize(entries []*store.Entry) int {
	size := bulkSize(len(entries)) - len(entries) - len(crlf)
	for _, e := range entries {
		size += bulkSize(len(e.Key()))
	}
	return size
}

func (t *talk) keyList(entries []*store.Entry) {
	t.array(len(entries))
	for _, e := range entries {
		t.head('$', len(e.Key()))
		t.piece(e.Key())
		t.buf = append(t.buf, crlf...)
	}
}

// eachPage calls f with the keys of the store from a cursor on, in pages of so many, 0: as the store likes, until it returns false.
func (t *talk) eachPage(from []byte, limit int, f func([]*store.Entry) bool) error {
	for cursor := from; ; {
		page, err := t.session.Scan(cursor, store.ScanOptions{Limit: limit})
		if err != nil {
			return err
		}
		if cursor = page.Next; !f(page.Entries) || cursor == nil {
			return nil
		}
	}
}

// keyExtra is about what a key takes besides its bytes in a list.
const keyExtra = 64

func keys(t *talk, args [][]byte) {
	var all []*store.Entry
	var refused error
	claimed := 0
	defer func() { t.client.Release(claimed) }()
	err := t.eachPage(nil, 0, func(page []*store.Entry) bool {
		size := 0
		for _, e := range page {
			if globMatch(args[1], e.Key()) {
				size += len(e.Key()) + keyExtra
				all = append(all, e)
			}
		}
		if refused = t.client.Claim(size); refused != nil {
			return false
		}
		claimed += size
		return true
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		t.fail(err)
		return
	}
	if size := listSize(all); size < longString || t.stream(size, len(all)) {
		t.keyList(all)
	}
}

// randomKey answers the first key from a random place on: those behind a gap come a little more often.
func randomKey(t *talk, _ [][]byte) {
	for _, from := range [][]byte{t.storeCursor(rand.Uint64() | 1), nil} {
		var found *store.Entry
		err := t.eachPage(from, 1, func(page []*store.Entry) bool {
			if len(page) > 0 {
				found = page[0]
			}
			return len(page) == 0
		})
		if err != nil {
			t.fail(err)
			return
		}
		if found != nil {
			t.bulk(found.Key())
			return
		}
	}
	t.null()
}

func flushAll(t *talk, args [][]byte) {
	if len(args) > 2 || len(args) == 2 && !equalFold(args[1], "sync") && !equalFold(args[1], "async") {
		t.err(errSyntax)
		return
	}
	var failed error
	err := t.eachPage(nil, 0, func(page []*store.Entry) bool {
		doomed := make([][]byte, len(page))
		for i, e := range page {
			doomed[i] = e.Key()
		}
		_, _, failed = t.session.Del(doomed)
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		t.fail(err)
		return
	}
	t.ok()
}

func now(t *talk, _ [][]byte) {
	at := time.Now()
	t.array(2)
	t.text(integerText(at.Unix()))
	t.text(integerText(int64(at.Nanosecond() / 1000)))
}

func wait(t *talk, args [][]byte) {
	for i, what := range []string{errNotInt, "ERR timeout is not an integer or out of range"} {
		n, ok := parseInt(args[i+1])
		if !ok {
			t.err(what)
			return
		}
		if n < 0 {
			t.err([]string{"ERR value is out of range, must be positive", "ERR timeout is negative"}[i])
			return
		}
	}
	t.int(0)
}

func lastSave(t *talk, _ [][]byte) { t.int(lastSaveOf(t.figures())) }

// lastSaveOf is when the newest snapshot was made, in Unix seconds; 0: there is none.
func lastSaveOf(f map[string]uint64) int64 {
	if f["snapshot_bytes"] == 0 {
		return 0
	}
	return time.Now().Unix() - int64(f["snapshot_age_seconds"])
}

func save(t *talk, _ [][]byte) {
	if t.snapshot() {
		t.ok()
	}
}

func bgSave(t *talk, args [][]byte) {
	if len(args) > 2 || len(args) == 2 && !equalFold(args[1], "schedule") {
		t.err(errSyntax)
		return
	}
	if t.snapshot() {
		t.simple("Background saving started")
	}
}

func (t *talk) snapshot() bool {
	if _, _, err := t.client.Snapshot(); err != nil {
		t.fail(err)
		return false
	}
	return true
}

func shutdown(t *talk, args [][]byte) {
	for _, word := range args[1:] {
		switch {
		case equalFold(word, "abort"):
			t.err("ERR No shutdown in progress.")
			return
		case equalFold(word, "nosave"), equalFold(word, "save"), equalFold(word, "now"), equalFold(word, "force"), equalFold(word, "safe"), equalFold(word, "failover"):
		default:
			t.err(errSyntax)
			return
		}
	}
	if t.door.options.Shutdown == nil {
		t.err("ERR Errors trying to SHUTDOWN. Check logs.")
		return
	}
	t.door.options.Shutdown()
	t.end(nil)
}

func role(t *talk, _ [][]byte) {
	t.array(3)
	t.text("master")
	t.int(0)
	t.array(0)
}

func slowLogGet(t *talk, args [][]byte) {
	if len(args) > 3 {
		t.err("ERR wrong number of arguments for 'slowlog|get' command")
		return
	}
	if len(args) == 3 {
		if n, ok := parseInt(args[2]); !ok || n < -1 {
			t.err("ERR count should be greater than or equal to -1")
			return
		}
	}
	t.array(0)
}

func slowLogLen(t *talk, _ [][]byte)   { t.int(0) }
func slowLogReset(t *talk, _ [][]byte) { t.ok() }

func functionFlush(t *talk, args [][]byte) {
	if len(args) > 3 || len(args) == 3 && !equalFold(args[2], "sync") && !equalFold(args[2], "async") {
		t.err("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
		return
	}
	t.ok()
}

// figures are the server's figures by name.
func (t *talk) figures() map[string]uint64 {
	all := make(map[string]uint64)
	for _, s := range t.client.Stats() {
		all[s.Name] = s.Value
	}
	all["expired"] += t.door.expired.Load()
	return all
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
			t.err("ERR CONFIG SET failed (possibly related to argument '" + name + "') - settings are options of kvd: start it with others")
			return
		}
	}
	t.ok()
}

func configRewrite(t *talk, _ [][]byte) { t.err("ERR The server is running without a config file") }

// resettable are the figures that INFO counts from the last CONFIG RESETSTAT on. STATS and /metrics don't know of that.
var resettable = []string{
	"connections_total", "requests", "bytes_in", "bytes_out", "connections_refused", "expired", "evicted", "hits", "misses", "login_failures",
}

func configResetStat(t *talk, _ [][]byte) {
	f := t.figures()
	t.door.counted.Store(&f)
	t.ok()
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
		return fmt.Sprintf("used_memory:%d\r\nused_memory_human:%s\r\nused_memory_dataset:%d\r\nmaxmemory:%d\r\nmaxmemory_human:%s\r\nmaxmemory_policy:noeviction\r\nmem_allocator:go\r\n",
			f["memory_bytes"], human(f["memory_bytes"]), f["data_memory_bytes"], f["memory_limit_bytes"], human(f["memory_limit_bytes"]))
	}},
	{"Persistence", func(t *talk, f map[string]uint64) string {
		enabled, status := 0, "ok"
		if f["sync_policy"] > 0 {
			enabled = 1
		}
		if f["read_only"] > 0 {
			status = "err"
		}
		return fmt.Sprintf("loading:0\r\nrdb_bgsave_in_progress:0\r\nrdb_last_save_time:%d\r\nrdb_last_bgsave_status:ok\r\naof_enabled:%d\r\naof_rewrite_in_progress:0\r\n"+
			"aof_last_write_status:%s\r\naof_current_size:%d\r\n", lastSaveOf(f), enabled, status, f["log_bytes"])
	}},
	{"Stats", func(t *talk, f map[string]uint64) string {
		return fmt.Sprintf("total_connections_received:%d\r\ntotal_commands_processed:%d\r\ntotal_net_input_bytes:%d\r\ntotal_net_output_bytes:%d\r\nrejected_connections:%d\r\n"+
			"expired_keys:%d\r\nevicted_keys:%d\r\nkeyspace_hits:%d\r\nkeyspace_misses:%d\r\nacl_access_denied_auth:%d\r\n",
			f["connections_total"], f["requests"], f["bytes_in"], f["bytes_out"], f["connections_refused"], f["expired"], f["evicted"], f["hits"], f["misses"], f["login_failures"])
	}},
	{"Replication", func(*talk, map[string]uint64) string { return "role:master\r\nconnected_slaves:0\r\n" }},
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
			return equalFold(arg, strings.ToLower(name)) || equalFold(arg, "all") || equalFold(arg, "default") || equalFold(arg, "everything")
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
