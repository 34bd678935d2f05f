package resp

import "strings"

// noCluster is why the commands of Redis Cluster are not served, to a server of a cluster either: no client has to know which
// server has which keys. Clients send them to find out whether there is a Redis Cluster.
const noCluster = "it is no Redis Cluster: each server has all keys"

// unserved is a list of commands of Redis 8 and Valkey 9 that are not served, and why not. Subcommands are named "acl cat".
type unserved struct{ why, names string }

// notServedCommands are all such commands. A name that ends with * stands for all that begin so.
var notServedCommands = []unserved{
	{"/metrics has the latency of requests",
		"commandlog, commandlog get, commandlog help, commandlog len, commandlog reset, latency, latency doctor, latency graph, " +
			"latency help, latency histogram, latency history, latency latest, latency reset"},
	{"BGSAVE writes a snapshot", "bgrewriteaof"},
	{"COMMAND GETKEYS has the keys", "command getkeysandflags"},
	{"INFO memory and /metrics have it", "memory doctor, memory malloc-stats, memory purge, memory stats"},
	{"clients are not paused, killed or told of changes",
		"client caching, client capa, client getredir, client import-source, client kill, client pause, client tracking, client " +
			"trackinginfo, client unblock, client unpause"},
	{"it has no replicas of this kind", "failover, psync, replconf, replicaof, slaveof, sync"},
	{"it is no Sentinel",
		"sentinel, sentinel ckquorum, sentinel config, sentinel debug, sentinel failover, sentinel flushconfig, sentinel " +
			"get-master-addr-by-name, sentinel get-primary-addr-by-name, sentinel help, sentinel info-cache, sentinel " +
			"is-master-down-by-addr, sentinel is-primary-down-by-addr, sentinel master, sentinel masters, sentinel monitor, sentinel " +
			"myid, sentinel pending-scripts, sentinel primaries, sentinel primary, sentinel remove, sentinel replicas, sentinel " +
			"reset, sentinel sentinels, sentinel set, sentinel simulate-failure, sentinel slaves"},
	{noCluster,
		"asking, cluster, cluster addslots, cluster addslotsrange, cluster bumpepoch, cluster cancelslotmigrations, cluster " +
			"count-failure-reports, cluster countkeysinslot, cluster delslots, cluster delslotsrange, cluster failover, cluster " +
			"flushslot, cluster flushslots, cluster forget, cluster getkeysinslot, cluster getslotmigrations, cluster help, cluster " +
			"info, cluster keyslot, cluster links, cluster meet, cluster migrateslots, cluster myid, cluster myshardid, cluster " +
			"nodes, cluster replicas, cluster replicate, cluster reset, cluster saveconfig, cluster set-config-epoch, cluster " +
			"setslot, cluster shards, cluster slaves, cluster slot-stats, cluster slots, cluster syncslots, clusterscan, readonly, " +
			"readwrite, sflush"},
	{"it is not needed to use the server", "debug, lolwut, monitor"},
	{"of bits it has SETBIT and GETBIT", "bitcount, bitfield, bitfield_ro, bitop, bitpos"},
	{"there are no HyperLogLogs", "pfadd, pfcount, pfdebug, pfmerge, pfselftest"},
	{"there are no channels",
		"psubscribe, publish, pubsub, pubsub channels, pubsub help, pubsub numpat, pubsub numsub, pubsub shardchannels, pubsub " +
			"shardnumsub, punsubscribe, spublish, ssubscribe, subscribe, sunsubscribe, unsubscribe"},
	{"there are no hashes",
		"hdel, hexists, hexpire, hexpireat, hexpiretime, hget, hgetall, hgetdel, hgetex, hincrby, hincrbyfloat, hkeys, hlen, " +
			"hmget, hmset, hpersist, hpexpire, hpexpireat, hpexpiretime, hpttl, hrandfield, hscan, hset, hsetex, hsetnx, hstrlen, " +
			"httl, hvals"},
	{"there are no lists",
		"blmove, blmpop, blpop, brpop, brpoplpush, lindex, linsert, llen, lmove, lmpop, lpop, lpos, lpush, lpushx, lrange, lrem, " +
			"lset, ltrim, rpop, rpoplpush, rpush, rpushx, sort, sort_ro"},
	{"there are no modules",
		"bf.*, cf.*, cms.*, ft.*, json.*, module, module help, module list, module load, module loadex, module unload, tdigest.*, " +
			"topk.*, ts.*"},
	{"there are no scripts",
		"eval, eval_ro, evalsha, evalsha_ro, fcall, fcall_ro, function delete, function dump, function kill, function list, " +
			"function load, function restore, function stats, script, script debug, script exists, script flush, script help, script " +
			"kill, script load, script show"},
	{"there are no sets",
		"sadd, scard, sdiff, sdiffstore, sinter, sintercard, sinterstore, sismember, smembers, smismember, smove, spop, " +
			"srandmember, srem, sscan, sunion, sunionstore"},
	{"there are no sorted sets",
		"bzmpop, bzpopmax, bzpopmin, geoadd, geodist, geohash, geopos, georadius, georadius_ro, georadiusbymember, " +
			"georadiusbymember_ro, geosearch, geosearchstore, zadd, zcard, zcount, zdiff, zdiffstore, zincrby, zinter, zintercard, " +
			"zinterstore, zlexcount, zmpop, zmscore, zpopmax, zpopmin, zrandmember, zrange, zrangebylex, zrangebyscore, zrangestore, " +
			"zrank, zrem, zremrangebylex, zremrangebyrank, zremrangebyscore, zrevrange, zrevrangebylex, zrevrangebyscore, zrevrank, " +
			"zscan, zscore, zunion, zunionstore"},
	{"there are no streams",
		"xack, xackdel, xadd, xautoclaim, xclaim, xdel, xdelex, xgroup, xgroup create, xgroup createconsumer, xgroup delconsumer, " +
			"xgroup destroy, xgroup help, xgroup setid, xinfo, xinfo consumers, xinfo groups, xinfo help, xinfo stream, xlen, " +
			"xpending, xrange, xread, xreadgroup, xrevrange, xsetid, xtrim"},
	{"there are no vector sets",
		"vadd, vcard, vdim, vemb, vgetattr, vinfo, vismember, vlinks, vrandmember, vrange, vrem, vsetattr, vsim"},
	{"there is one database", "move, swapdb"},
	{"use kvc export and import", "migrate"},
	{"users are those of --auth-file",
		"acl cat, acl deluser, acl dryrun, acl genpass, acl getuser, acl list, acl load, acl log, acl save, acl setuser, acl " +
			"users"},
	{"values have no serialized form", "dump, restore, restore-asking"},
	{"what is answered is durable as --sync says", "waitaof"},
}

// notServed says why a command of Redis or Valkey is not served; "": the command is served, or neither has it.
func notServed(name []byte) string {
	lower := strings.ToLower(string(name))
	for _, u := range notServedCommands {
		for n := range strings.SplitSeq(u.names, ", ") {
			prefix, family := strings.CutSuffix(n, "*")
			if lower == n || family && strings.HasPrefix(lower, prefix) {
				return u.why
			}
		}
	}
	return ""
}
