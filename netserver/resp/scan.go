package resp

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"

	"kv/store"
)

// The commands about all keys.

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
	return slices.ContainsFunc([]string{"list", "set", "zset", "hash", "stream"},
		func(s string) bool { return equalFold(name, s) })
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

// eachPage calls f with the keys of the store from a cursor on, in pages of so many, 0: as the store likes, until it
// returns false.
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
	if err := t.session.Moved(); err != nil { // it is a write, also where there is nothing to delete
		t.fail(err)
		return
	}
	if !t.fresh() { // what was written before it is deleted, too
		return
	}
	t.looked = false
	deleted := 0
	var failed error
	err := t.eachPage(nil, 0, func(page []*store.Entry) bool {
		doomed := make([][]byte, len(page))
		for i, e := range page {
			doomed[i] = e.Key()
		}
		var n int
		n, _, failed = t.session.Del(doomed)
		deleted += n
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	switch {
	case deleted > 0 && errors.As(err, new(*store.MovedError)): // which says that nothing was applied
		t.err("UNKNOWN some of the keys were deleted, then another server led, or none: try again")
	case err != nil:
		t.fail(err)
	default:
		t.ok()
	}
}
