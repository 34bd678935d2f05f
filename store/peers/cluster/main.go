// Command cluster measures three nodes of kvd beside three of etcd and a Redis with two replicas: all on this machine,
// on the same disk and the same cores, in turns in every round, under the same load generator, which is in this
// program. It prints tables in Markdown.
//
//	go run ./cluster -kvd PATH [-etcd PATH,...] [-redis PATH] [-dir DIR] [-rounds N] [-each TIME] [WORK ...]
//
// Without a WORK it does all of them; -list names them. kvc is beside kvd. -dir is on the disk that is measured.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// options are the program's.
type options struct {
	kvd    string
	olds   []string
	etcds  []string
	redis  string
	dir    string
	rounds int
	each   time.Duration

	running []*Servers // of peers
}

// work is something that is measured.
type work struct {
	name, what string
	run        func(o *options) error
}

var works = []work{
	{"set-1", "SET by 1 client", loads(Load{Clients: 1, Depth: 1, Sets: true}, true, true)},
	{"set-64", "SET by 64 clients", loads(Load{Clients: 64, Depth: 1, Sets: true}, true, true)},
	{"set-512", "SET by 512 clients", loads(Load{Clients: 512, Depth: 1, Sets: true}, true, true)},
	{"set-64x16", "SET by 64 clients with 16 in flight", loads(Load{Clients: 64, Depth: 16, Sets: true}, false, true)},
	{"get-64", "linearizable GET by 64 clients at the leader", loads(Load{Clients: 64, Depth: 1}, true, true)},
	{"get-64x16", "linearizable GET by 64 clients with 16 in flight, at the leader", loads(Load{Clients: 64, Depth: 16}, false, true)},
	{"get-any", "linearizable GET by 64 clients with 16 in flight, at all nodes", anywhere},
	{"failover", "the leader is killed", failover},
	{"transfer", "leadership is transferred", transfer},
	{"catch-up", "a node has missed a million writes", catchUp},
	{"frozen", "the leader's disk is frozen for 8 s; as root", frozen},
	{"nodes", "SET by 64 clients to 1, 3 and 5 nodes", nodes},
	{"values", "SET by 64 clients of values of 1, 4 and 16 KiB", values},
	{"alone", "one kvd alone, beside an older one (-old)", alone},
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("cluster: ")
	var o options
	var etcds, olds string
	flag.StringVar(&o.kvd, "kvd", "kvd", "the kvd to measure")
	flag.StringVar(&olds, "old", "", "older kvds, separated by commas, to be measured beside it")
	flag.StringVar(&etcds, "etcd", "", "programs of etcd; empty: none")
	flag.StringVar(&o.redis, "redis", "redis-server", "the program of Redis; empty: none")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the servers keep their data")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, of which medians are printed")
	flag.DurationVar(&o.each, "each", 2*time.Second, "how long a server is under load in each round")
	list := flag.Bool("list", false, "name what can be measured")
	flag.Parse()
	if olds != "" {
		o.olds = strings.Split(olds, ",")
	}
	if etcds != "" {
		o.etcds = strings.Split(etcds, ",")
	}
	if *list {
		for _, w := range works {
			fmt.Printf("%-10s %s\n", w.name, w.what)
		}
		return
	}
	for _, name := range flag.Args() {
		if !slices.ContainsFunc(works, func(w work) bool { return w.name == name }) {
			log.Fatalf("there is no work %q: see -list", name)
		}
	}
	if err := o.do(flag.Args()); err != nil {
		log.Fatal(err)
	}
}

// do does works, in a folder of their own.
func (o *options) do(names []string) (err error) {
	if o.dir, err = os.MkdirTemp(o.dir, "cluster-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	defer func() { stop(o.running) }()
	for _, w := range works {
		if len(names) > 0 && !slices.Contains(names, w.name) {
			continue
		}
		fmt.Printf("\n%s:\n\n", w.what)
		if err := w.run(o); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

const keys = 100_000

// started starts servers, and sees to it that they end.
func started(all *[]*Servers, s *Servers, err error) error {
	if err == nil {
		*all = append(*all, s)
		err = s.Start()
	}
	return err
}

// stop ends servers.
func stop(all []*Servers) {
	for _, s := range all {
		s.Stop()
	}
}

// peers are three nodes of kvd and what they are measured beside. They are started once, for all works.
func (o *options) peers(withEtcd, withRedis bool) (all []*Servers, err error) {
	if o.running == nil {
		if err := o.startPeers(); err != nil {
			return nil, err
		}
	}
	for _, s := range o.running {
		switch s.Protocol.(type) {
		case etcd:
			if withEtcd {
				all = append(all, s)
			}
		case redis:
			if withRedis {
				all = append(all, s)
			}
		default:
			all = append(all, s)
		}
	}
	return all, nil
}

func (o *options) startPeers() error {
	s, err := kvds(o.kvd, filepath.Join(o.dir, "kvd"), 3, true)
	if err := started(&o.running, s, err); err != nil {
		return err
	}
	for i, program := range o.olds {
		s, err := kvds(program, filepath.Join(o.dir, fmt.Sprint("before", i)), 3, true)
		if err == nil {
			s.Kind = "kvd before"
			if len(o.olds) > 1 {
				s.Kind = "kvd of " + filepath.Base(filepath.Dir(program))
			}
		}
		if err := started(&o.running, s, err); err != nil {
			return err
		}
	}
	for i, program := range o.etcds {
		s, err := etcds(program, filepath.Join(o.dir, fmt.Sprint("etcd", i)))
		if err == nil && len(o.etcds) > 1 {
			s.Kind = filepath.Base(program)
		}
		if err := started(&o.running, s, err); err != nil {
			return err
		}
	}
	for _, appendonly := range []bool{true, false} {
		if o.redis == "" {
			break
		}
		s, err := redises(o.redis, filepath.Join(o.dir, fmt.Sprint("redis", appendonly)), appendonly)
		if err == nil && !appendonly {
			s.Kind = "Redis in memory"
		}
		if err := started(&o.running, s, err); err != nil {
			return err
		}
	}
	return nil
}

// loads returns a work that puts this load on all.
func loads(l Load, withEtcd, withRedis bool) func(*options) error {
	return func(o *options) error {
		all, err := o.peers(withEtcd, withRedis)
		if err != nil {
			return err
		}
		subjects, err := atLeaders(all, l)
		if err != nil {
			return err
		}
		return inTurns(o, subjects)
	}
}

// subject is a load on servers.
type subject struct {
	name    string
	servers *Servers
	load    Load
}

// atLeaders is a load on the leaders of all.
func atLeaders(all []*Servers, l Load) (subjects []subject, err error) {
	for _, s := range all {
		leader, err := s.Leader()
		if err != nil {
			return nil, err
		}
		x := l
		x.Servers = []string{leader.Address}
		subjects = append(subjects, subject{s.Kind, s, x})
	}
	return subjects, nil
}

// anywhere has kvd answer at all nodes, and Redis at the one that takes writes, where its answers are newest.
func anywhere(o *options) error {
	all, err := o.peers(false, true)
	if err != nil {
		return err
	}
	subjects, err := atLeaders(all, Load{Clients: 64, Depth: 16})
	if err != nil {
		return err
	}
	for i := range subjects {
		s := &subjects[i]
		if s.servers.Protocol != (frames{}) {
			continue
		}
		for _, x := range s.servers.All {
			if x.Address != s.load.Servers[0] {
				s.load.Servers = append(s.load.Servers, x.Address)
			}
		}
	}
	return inTurns(o, subjects)
}

// nodes is what a write costs with more nodes.
func nodes(o *options) error {
	var all []*Servers
	defer func() { stop(all) }()
	for _, n := range []int{1, 3, 5} {
		s, err := kvds(o.kvd, filepath.Join(o.dir, fmt.Sprint(n)), n, true)
		if err == nil {
			s.Kind = fmt.Sprintf("nodes: %d", n)
		}
		if err := started(&all, s, err); err != nil {
			return err
		}
	}
	subjects, err := atLeaders(all, Load{Clients: 64, Depth: 1, Sets: true})
	if err != nil {
		return err
	}
	return inTurns(o, subjects)
}

// values is what larger values cost.
func values(o *options) error {
	all, err := o.peers(true, true)
	if err != nil {
		return err
	}
	for _, size := range []int{1 << 10, 4 << 10, 16 << 10} {
		fmt.Printf("%d KiB:\n\n", size>>10)
		subjects, err := atLeaders(all, Load{Clients: 64, Depth: 1, Sets: true, Value: size, Keys: 10_000})
		if err != nil {
			return err
		}
		if err := inTurns(o, subjects); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

// alone is one kvd without peers, of now and of before.
func alone(o *options) error {
	if len(o.olds) == 0 {
		fmt.Println("-old names no kvd")
		return nil
	}
	var all []*Servers
	defer func() { stop(all) }()
	for _, durable := range []bool{false, true} {
		for i, program := range []string{o.olds[0], o.kvd} {
			dir := filepath.Join(o.dir, fmt.Sprint("alone", durable, i))
			var more []string
			if durable {
				more = []string{"--data", filepath.Join(dir, "1"), "--sync", "always"}
			}
			s, err := kvds(program, dir, 1, false, more...)
			if err == nil {
				s.Kind = "now"
				if i == 0 {
					s.Kind = "before"
				}
			}
			if err := started(&all, s, err); err != nil {
				return err
			}
		}
	}
	for _, w := range []struct {
		what string
		all  []*Servers
		load Load
	}{
		{"GET by 64 clients", all[:2], Load{Clients: 64, Depth: 1}},
		{"GET by 64 clients with 16 in flight", all[:2], Load{Clients: 64, Depth: 16}},
		{"SET in memory by 64 clients with 16 in flight", all[:2], Load{Clients: 64, Depth: 16, Sets: true}},
		{"SET on disk by 64 clients", all[2:], Load{Clients: 64, Depth: 1, Sets: true}},
		{"SET on disk by 64 clients with 16 in flight", all[2:], Load{Clients: 64, Depth: 16, Sets: true}},
	} {
		fmt.Printf("%s:\n\n", w.what)
		subjects, err := atLeaders(w.all, w.load)
		if err != nil {
			return err
		}
		if err := inTurns(o, subjects); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

// row is what one round has shown of one subject. CPU is that of an operation.
type row struct {
	Measured
	leader, others, load time.Duration // that of the server asked first, of all others together, of the load generator
}

// inTurns has each subject under its load in each round, and prints what came of it, with the first subject's share of each.
func inTurns(o *options, subjects []subject) error {
	rows := make([][]row, len(subjects))
	for i := range subjects {
		l := &subjects[i].load
		l.Protocol = subjects[i].servers.Protocol
		if l.Keys == 0 {
			l.Keys = keys
		}
		if l.Value == 0 {
			l.Value = 32
		}
		if l.Sets {
			continue
		}
		fill := Load{Protocol: l.Protocol, Servers: l.Servers[:1], Clients: 16, Depth: 64, Sets: true, Keys: l.Keys, Value: l.Value, Count: l.Keys, InTurn: true}
		if _, err := fill.Run(); err != nil {
			return fmt.Errorf("fill %s: %w", subjects[i].name, err)
		}
	}
	for round := range o.rounds {
		for j := range subjects {
			i := (j + round) % len(subjects) // each round begins with another
			s := subjects[i]
			s.load.Time = o.each
			leader, all, own := s.servers.CPU(s.load.Servers[0]), s.servers.CPU(""), ownCPU()
			m, err := s.load.Run()
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			leader, all, own = s.servers.CPU(s.load.Servers[0])-leader, s.servers.CPU("")-all, ownCPU()-own
			n := time.Duration(m.Count)
			rows[i] = append(rows[i], row{m, leader / n, (all - leader) / n, own / n})
		}
	}
	fmt.Printf("| | operations a second | %s ÷ it | p50 | p99 | servers' CPU of an operation | the leader's | the load's |\n|---|---|---|---|---|---|---|---|\n", subjects[0].name)
	for i, s := range subjects {
		ratio := "–"
		if i > 0 {
			all := sorted(len(rows[i]), func(r int) float64 { return rows[0][r].PerSecond / rows[i][r].PerSecond })
			ratio = fmt.Sprintf("%.2f (%.2f to %.2f)", middle(all), all[0], all[len(all)-1])
		}
		of := func(f func(row) float64) float64 {
			return middle(sorted(len(rows[i]), func(r int) float64 { return f(rows[i][r]) }))
		}
		fmt.Printf("| %s | %.1f k | %s | %.2f ms | %.2f ms | %.1f µs | %.1f µs | %.1f µs |\n", s.name, of(func(r row) float64 { return r.PerSecond / 1000 }), ratio,
			of(func(r row) float64 { return r.P50.Seconds() * 1000 }), of(func(r row) float64 { return r.P99.Seconds() * 1000 }),
			of(func(r row) float64 { return float64(r.leader+r.others) / 1000 }), of(func(r row) float64 { return float64(r.leader) / 1000 }),
			of(func(r row) float64 { return float64(r.load) / 1000 }))
	}
	return nil
}

// sorted returns n figures in order.
func sorted(n int, of func(int) float64) (all []float64) {
	for i := range n {
		all = append(all, of(i))
	}
	slices.Sort(all)
	return all
}

// middle is the median of figures in order.
func middle(all []float64) float64 { return (all[(len(all)-1)/2] + all[len(all)/2]) / 2 }
