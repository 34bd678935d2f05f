package protocol

import "slices"

// Figure says what one figure of STATS is.
type Figure struct {
	Name string
	// Counter: it only rises, until the server is started anew, so that its rate says more than itself.
	Counter bool
	// Help is what it counts or measures, and in which unit, in one sentence without an end.
	Help string
}

// figures are all that kvd gives, in the order in which it gives them.
var figures = []Figure{
	{"keys", false, "Keys that exist; one past its expiry may be counted for a second more"},
	{"value_bytes", false, "Bytes of all values together, without keys and overhead"},
	{"get_ops", true, "Keys read, found or not"},
	{"hits", true, "Keys read that were found"},
	{"misses", true, "Keys read that were not found"},
	{"set_ops", true, "Keys set"},
	{"del_ops", true, "Keys deleted, whether they existed or not"},
	{"expired", true, "Keys removed because they had expired; not those that were written anew before that"},
	{"expiring_keys", false, "Keys that have an expiry"},
	{"evicted", true, "Keys that were deleted to make room for others: see --evict"},
	{"memory_bytes", false, "Bytes that are taken: by data, requests and answers, and by what is not used again yet"},
	{"memory_limit_bytes", false, "The memory limit in bytes, for data, requests and answers together; 0: none"},
	{"history_depth", false, "Earlier versions that are kept of a key at most"},
	{"history_versions", false, "Earlier versions that are kept of all keys together"},
	{"history_evicted", true, "Earlier versions that were given up to make room for writes"},
	{"request_limit_bytes", false, "The longest request that is taken, in bytes of its length field, as HELLO tells it; the largest value is a little less"},
	{"data_memory_bytes", false, "Bytes that keys, values, history and the table take"},
	{"waiting_memory_bytes", false, "Bytes of the data that were replaced or deleted, and wait until nobody can be reading them"},
	{"request_memory_bytes", false, "Bytes that requests hold that have not come whole, are large or have many keys"},
	{"output_memory_bytes", false, "Bytes that connections hold to answer requests: buffers, and what is on its way to clients"},
	{"connections", false, "Connections that are open"},
	{"connections_total", true, "Connections that were accepted and served"},
	{"connections_refused", true, "Connections that were closed because there were too many"},
	{"connections_cut_off", true,
		"Connections that were closed for want of memory because their clients did not read their answers"},
	{"bytes_in", true, "Bytes received from clients, without what TLS adds"},
	{"bytes_out", true, "Bytes sent to clients, without what TLS adds"},
	{"requests", true, "Requests that were answered"},
	{"conflicts", true, "Writes that were not applied because a condition did not hold"},
	{"login_failures", true, "Logins with a wrong user or secret"},
	{"handshake_failures", true, "TLS handshakes that failed: no TLS, or no certificate that is wanted"},
	{"refusals_bad_request", true, "Requests that were answered BAD_REQUEST: malformed"},
	{"refusals_too_large", true,
		"Requests that were answered TOO_LARGE: they, or what they asked for, are longer than a frame may be"},
	{"refusals_out_of_memory", true, "Requests that were answered OUT_OF_MEMORY: they would have passed a memory limit"},
	{"refusals_unauthenticated", true, "Requests that were answered UNAUTHENTICATED: nobody had logged in, or not rightly"},
	{"refusals_forbidden", true, "Requests that were answered FORBIDDEN: the user may only read"},
	{"refusals_unknown_opcode", true,
		"Requests that were answered UNKNOWN_OPCODE: the client is newer than the server, or broken"},
	{"refusals_unavailable", true, "Requests that were answered UNAVAILABLE: the store is read-only, or lacks what they need"},
	{"refusals_moved", true, "Requests that were answered MOVED: another server of the cluster leads"},
	{"refusals_stale", true, "Requests that were answered STALE: reads under a bound on their age that the server could not hold"},
	{"refusals_internal", true, "Requests that were answered INTERNAL: a fault of the server's own"},
	{"uptime_seconds", false, "Seconds since the server began to serve"},
	{"goroutines", false, "Goroutines of the process"},
	{"sync_policy", false, "When a write is safe from a crash of the machine: 0 there is no data folder, 1 never, 2 interval, 3 always"},
	{"read_only", false, "1 while writes are refused because the data folder failed or its disk is full, else 0"},
	{"log_files", false, "Log files in the data folder"},
	{"log_bytes", false, "Bytes of records in the logs that no snapshot covers"},
	{"log_queued_bytes", false, "Bytes of writes that are not in the log file yet"},
	{"log_syncs", true, "Syncs of the log that made writes durable"},
	{"log_begin_failures", true, "Log files that could not be begun: the log went on in the one before"},
	{"log_torn_bytes", false, "Bytes of a torn tail that the start cut off the log and saved beside it"},
	{"snapshot_bytes", false, "Bytes of the newest snapshot; 0: there is none"},
	{"snapshot_age_seconds", false, "Seconds since the newest snapshot was taken, or since the start if none was since"},
	{"snapshot_failures", true, "Snapshots that failed"},
	{"snapshot_failing", false, "1 if the last snapshot that was begun failed, else 0"},
	{"cluster_format", false, "The format that the cluster writes, the newest that all members read; 0: the node belongs to none yet"},
	{"cluster_format_readable", false, "The newest format that the node reads; above cluster_format until all members do"},
	{"cluster_settings_differ", false, "1 while members of the cluster were started with different --history or --history-age, or one with less than nine tenths of another's memory for data, else 0"},
	{"log_lines_dropped", true, "Lines of the server's own log that could not be written"},
}

// Figures returns what STATS of kvd gives, in its order. No name is ever removed; a server may give others too, and leave out
// what it does not have.
func Figures() []Figure { return slices.Clone(figures) }

// FigureOf returns what the figure of this name is, false if it is not known here.
func FigureOf(name string) (Figure, bool) {
	i := slices.IndexFunc(figures, func(f Figure) bool { return f.Name == name })
	if i < 0 {
		return Figure{Name: name}, false
	}
	return figures[i], true
}
