// Command hits measures how often kvd with --evict sieve, Redis and memcached, given the same memory, have what they
// are asked for: each key that a GET misses is then SET, as users of a cache do.
//
//	go run ./hits -kvd PATH [-requests N]
//
// redis-server and memcached are found in PATH.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	keys   = 500_000
	memory = 32 << 20 // of each server, for data
	batch  = 50       // requests in flight
)

var value = strings.Repeat("v", 200)

// peer is a server under measurement. PORT stands for its port.
type peer struct {
	name string
	args []string
	get  string // of key number %d
	set  string // of that, to a value of length %d, which is %s
}

const (
	respGet = "*2\r\n$3\r\nGET\r\n$16\r\nkey:%012d\r\n"
	respSet = "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$%d\r\n%s\r\n"
)

func peers(kvd string) []peer {
	redis := func(policy string) peer {
		return peer{name: "Redis, " + policy, get: respGet, set: respSet, args: []string{"redis-server", "--port", "PORT", "--save", "", "--appendonly", "no",
			"--maxmemory", strconv.Itoa(memory), "--maxmemory-policy", policy}}
	}
	return []peer{
		// Three quarters of --max-memory are for data.
		{name: "kvd", get: respGet, set: respSet, args: []string{kvd, "--listen", "127.0.0.1:PORT", "--evict", "sieve", "--max-memory", strconv.Itoa(memory / 3 * 4)}},
		redis("allkeys-lru"),
		redis("allkeys-lfu"),
		{name: "memcached", get: "get key:%012d\r\n", set: "set key:%012d 0 0 %d\r\n%s\r\n",
			args: []string{"memcached", "-u", "nobody", "-U", "0", "-l", "127.0.0.1", "-p", "PORT", "-m", strconv.Itoa(memory >> 20), "-t", "1"}},
	}
}

// zipf draws key numbers: the i-th most frequent one 1/i^s as often as the first.
func zipf(s float64) func(*rand.Rand) int {
	sums := make([]float64, keys)
	sum := 0.0
	for i := range sums {
		sum += 1 / math.Pow(float64(i+1), s)
		sums[i] = sum
	}
	perm := rand.New(rand.NewPCG(7, 7)).Perm(keys)
	return func(r *rand.Rand) int {
		i, _ := slices.BinarySearch(sums, r.Float64()*sum)
		return perm[min(i, keys-1)]
	}
}

func main() {
	kvd := flag.String("kvd", "kvd", "the kvd to measure")
	requests := flag.Int("requests", 2_000_000, "requests to each; the second half counts")
	flag.Parse()
	often := zipf(0.99)
	for _, work := range []struct {
		name string
		next func() func(*rand.Rand) int
	}{
		{"Zipf 0.99", func() func(*rand.Rand) int { return often }},
		{"Zipf 0.8", func() func(*rand.Rand) int { return zipf(0.8) }},
		{"Zipf 0.99, and a third asked for once", func() func(*rand.Rand) int {
			once := keys
			return func(r *rand.Rand) int {
				if r.IntN(3) == 0 {
					once++
					return once
				}
				return often(r)
			}
		}},
	} {
		for _, p := range peers(*kvd) {
			fmt.Printf("%s: %s: %.1f %%\n", work.name, p.name, 100*p.measure(work.next(), *requests))
		}
	}
}

// measure returns which part of the requests hit.
func (p peer) measure(next func(*rand.Rand) int, requests int) float64 {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	_, port, _ := net.SplitHostPort(addr)
	args := slices.Clone(p.args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "PORT", port)
	}
	server := exec.Command(args[0], args[1:]...)
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	var c net.Conn
	for range 1000 { // until it listens
		if c, err = net.Dial("tcp", addr); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	in, out := bufio.NewReader(c), bufio.NewWriter(c)
	line := func() string {
		l, err := in.ReadString('\n')
		if err != nil {
			log.Fatalf("%s: %v", p.name, err)
		}
		return l
	}
	rng := rand.New(rand.NewPCG(1, 1))
	hits, asked := 0, 0
	var batchKeys, missed [batch]int
	for n := 0; n < requests; n += batch {
		for i := range batchKeys {
			batchKeys[i] = next(rng)
			fmt.Fprintf(out, p.get, batchKeys[i])
		}
		out.Flush()
		misses := missed[:0]
		for _, k := range batchKeys {
			switch l := line(); {
			case l == "$-1\r\n" || l == "END\r\n":
				misses = append(misses, k)
			case strings.HasPrefix(l, "$"):
				line()
			case strings.HasPrefix(l, "VALUE"):
				line()
				line()
			default:
				log.Fatalf("%s answered %q", p.name, l)
			}
		}
		if n >= requests/2 {
			asked += batch
			hits += batch - len(misses)
		}
		for _, k := range misses {
			fmt.Fprintf(out, p.set, k, len(value), value)
		}
		out.Flush()
		for range misses {
			if l := line(); l != "+OK\r\n" && l != "STORED\r\n" {
				log.Fatalf("%s answered %q", p.name, l)
			}
		}
	}
	return float64(hits) / float64(asked)
}
