// Package peers measures the store beside the concurrent maps that a Go program would otherwise use: sync.Map and xsync's
// Map. The keys have 16 bytes and the values 32, for all of them the same.
//
// Each is used in the way that suits it best: the store with keys that are byte slices, the others with keys and values
// that are strings. sync.Map takes its keys as interfaces; the ones that it is asked for are made beforehand, so it does
// not pay for making them.
package peers

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"

	"github.com/puzpuzpuz/xsync/v4"

	"kv/store"
)

const (
	keySize   = 16
	valueSize = 32
)

// table is a map under measurement.
type table interface {
	// writer returns a function that gives a key a value. It belongs to one goroutine.
	writer() func(key, value []byte)
	// reader returns a function that looks up the n keys from number from on in a, and adds up a byte of each of their
	// values. It belongs to one goroutine.
	reader() func(a *asked, from, n int) (sum int)
	close()
}

// asked is a list of keys to look up, in an order without pattern, in the form that each table takes. The keys lie one
// behind the other in memory, so that what is measured is the tables' cache misses and not the list's.
type asked struct {
	bytes   []byte
	strings string
	boxed   []any
}

// ask makes the list of all n keys of a table.
func ask(n int) *asked {
	a := &asked{bytes: make([]byte, 0, n*keySize), boxed: make([]any, n)}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		a.bytes = appendKey(a.bytes, uint64(i))
	}
	a.strings = string(a.bytes)
	for i := range a.boxed {
		a.boxed[i] = a.strings[i*keySize : (i+1)*keySize]
	}
	return a
}

// appendKey appends key number i.
func appendKey(dst []byte, i uint64) []byte {
	dst = append(dst, "key:0000"...)
	return binary.BigEndian.AppendUint64(dst, i)
}

// fill puts the keys 0 to n-1 into t.
func fill(t table, n int) {
	set := t.writer()
	key, value := make([]byte, 0, keySize), make([]byte, valueSize)
	for i := range uint64(n) {
		key = appendKey(key[:0], i)
		binary.BigEndian.PutUint64(value, i)
		set(key, value)
	}
}

var tables = []struct {
	name string
	open func() table
}{
	{"kv", func() table { return openKV(0) }},
	{"kvSingly", func() table { return singly{openKV(0)} }},
	{"kvExpiring", func() table { return openKV(aDay) }},
	{"kvExpiringSingly", func() table { return singly{openKV(aDay)} }},
	{"xsync", func() table { return xsyncMap{xsync.NewMap[string, string]()} }},
	{"syncMap", func() table { return &syncMap{} }},
}

// aDay is a time to live, in milliseconds.
const aDay = 24 * 60 * 60 * 1000

// kvStore is the store, whose keys live for ttl milliseconds; 0: for good.
type kvStore struct {
	*store.Store
	ttl uint64
}

func openKV(ttl uint64) kvStore {
	s, err := store.Open(store.Options{})
	if err != nil {
		panic(err)
	}
	return kvStore{s, ttl}
}

func (s kvStore) writer() func(key, value []byte) {
	c := s.Session()
	return func(key, value []byte) {
		if _, err := c.Set(key, value, store.SetOptions{TTL: s.ttl}); err != nil {
			panic(err)
		}
	}
}

// lookups is for how many keys a view is opened, and how many are looked up side by side: as many as requests that lie
// in one read.
const lookups = 16

func (s kvStore) reader() func(a *asked, from, n int) int {
	c := s.Session()
	keys, found := make([][]byte, 0, lookups), make([]store.Found, lookups)
	return func(a *asked, from, n int) (sum int) {
		for b := a.bytes[from*keySize : (from+n)*keySize]; len(b) > 0; {
			keys = keys[:0]
			for ; len(b) > 0 && len(keys) < lookups; b = b[keySize:] {
				keys = append(keys, b[:keySize])
			}
			v := c.View()
			v.GetMany(found[:len(keys)], keys)
			for _, e := range found[:len(keys)] {
				sum += int(e.Value()[7])
			}
			v.Close()
		}
		return sum
	}
}

// singly is the store whose keys are looked up one by one, in a view for as many.
type singly struct{ kvStore }

func (s singly) reader() func(a *asked, from, n int) int {
	c := s.Session()
	return func(a *asked, from, n int) (sum int) {
		b := a.bytes[from*keySize : (from+n)*keySize]
		for len(b) > 0 {
			v := c.View()
			for range min(lookups, len(b)/keySize) {
				sum += int(v.Get(b[:keySize]).Value()[7])
				b = b[keySize:]
			}
			v.Close()
		}
		return sum
	}
}

func (s kvStore) close() { _ = s.Close() }

type xsyncMap struct{ *xsync.Map[string, string] }

func (m xsyncMap) writer() func(key, value []byte) {
	return func(key, value []byte) { m.Store(string(key), string(value)) }
}

func (m xsyncMap) reader() func(a *asked, from, n int) int {
	return func(a *asked, from, n int) (sum int) {
		for s := a.strings[from*keySize : (from+n)*keySize]; len(s) > 0; s = s[keySize:] {
			v, _ := m.Load(s[:keySize])
			sum += int(v[7])
		}
		return sum
	}
}

func (m xsyncMap) close() {}

type syncMap struct{ sync.Map }

func (m *syncMap) writer() func(key, value []byte) {
	return func(key, value []byte) { m.Store(string(key), string(value)) }
}

func (m *syncMap) reader() func(a *asked, from, n int) int {
	return func(a *asked, from, n int) (sum int) {
		for _, k := range a.boxed[from : from+n] {
			v, _ := m.Load(k)
			sum += int(v.(string)[7])
		}
		return sum
	}
}

func (m *syncMap) close() {}
