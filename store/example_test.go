package store_test

import (
	"errors"
	"fmt"
	"log"
	"strconv"

	"kv/store"
)

func Example() {
	s, err := store.Open(store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	c := s.Session() // one for each goroutine
	defer c.Close()

	if _, err := c.Set([]byte("greeting"), []byte("hello"), store.SetOptions{}); err != nil {
		log.Fatal(err)
	}
	if e := c.Get([]byte("greeting")); e != nil {
		fmt.Printf("%s\n", e.Value())
	}
	fmt.Println(c.Get([]byte("farewell")) == nil)
	// Output:
	// hello
	// true
}

// What Get returns is a copy, and so is what AppendValue appends, to memory of the caller's: both may be kept. A view
// shows the value where the store has it, for no cost, until it is closed.
func ExampleSession_View() {
	s, err := store.Open(store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	c := s.Session()
	defer c.Close()
	key := []byte("greeting")
	if _, err := c.Set(key, []byte("hello"), store.SetOptions{}); err != nil {
		log.Fatal(err)
	}

	value, _ := c.AppendValue(nil, key)

	v := c.View()
	length := 0
	if e := v.Get(key); e.Exists() {
		length = len(e.Value()) // not to be looked at after Close
	}
	v.Close() // before anything that may take long

	if _, err := c.Set(key, []byte("another"), store.SetOptions{}); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %d\n", value, length)
	// Output: hello 5
}

// Keys that are written together are read together: an MGet never sees one half of an MSet.
func ExampleSession_MGet() {
	s, err := store.Open(store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	c := s.Session()
	defer c.Close()

	_, err = c.MSet([]store.Pair{
		{Key: []byte("first"), Value: []byte("Ada")},
		{Key: []byte("last"), Value: []byte("Lovelace")},
	})
	if err != nil {
		log.Fatal(err)
	}
	entries := c.MGet(nil, [][]byte{[]byte("first"), []byte("last"), []byte("title")})
	fmt.Printf("%s %s\n", entries[0].Value(), entries[1].Value())
	fmt.Println(entries[0].Version() == entries[1].Version(), entries[2] == nil)
	// Output:
	// Ada Lovelace
	// true true
}

// An optimistic transaction: read, compute, and write on the condition that what was read has not changed since; if it
// has, begin again.
func ExampleSession_Txn() {
	s, err := store.Open(store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	c := s.Session()
	defer c.Close()
	from, to := []byte("alice"), []byte("bob")
	if _, err := c.MSet([]store.Pair{{Key: from, Value: []byte("100")}, {Key: to, Value: []byte("20")}}); err != nil {
		log.Fatal(err)
	}

	for {
		e := c.MGet(nil, [][]byte{from, to})
		a, _ := strconv.Atoi(string(e[0].Value()))
		b, _ := strconv.Atoi(string(e[1].Value()))
		_, _, err := c.Txn(nil,
			[]store.Condition{{Key: from, Version: e[0].Version()}, {Key: to, Version: e[1].Version()}},
			[]store.Op{
				{Kind: store.OpSet, Key: from, Value: strconv.AppendInt(nil, int64(a-30), 10)},
				{Kind: store.OpSet, Key: to, Value: strconv.AppendInt(nil, int64(b+30), 10)},
			})
		if conflict := new(store.ConflictError); errors.As(err, &conflict) {
			continue // somebody was faster
		}
		if err != nil {
			log.Fatal(err)
		}
		break
	}
	fmt.Printf("%s %s\n", c.Get(from).Value(), c.Get(to).Value())
	// Output: 70 50
}

// A lock is a key that can only be made where there is none, and that goes by itself if its owner dies. Its version is
// the proof of ownership.
func ExampleSession_Set_lock() {
	s, err := store.Open(store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	c := s.Session()
	defer c.Close()
	lock := []byte("lock")
	ifAbsent := store.SetOptions{Conditional: true, IfVersion: 0, TTL: 30_000}

	mine, err := c.Set(lock, []byte("worker 1"), ifAbsent)
	fmt.Println("worker 1:", err)
	var conflict *store.ConflictError
	_, err = c.Set(lock, []byte("worker 2"), ifAbsent)
	fmt.Println("worker 2 has to wait:", errors.As(err, &conflict) && conflict.Version == mine)

	// Give it back, unless it has expired and is another's by now.
	_, _, err = c.Txn(nil, []store.Condition{{Key: lock, Version: mine}}, []store.Op{{Kind: store.OpDel, Key: lock}})
	fmt.Println("released:", err)
	// Output:
	// worker 1: <nil>
	// worker 2 has to wait: true
	// released: <nil>
}
