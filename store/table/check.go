package table

import (
	"fmt"
	"iter"

	"kv/store/arena"
)

// Check verifies the table, which nobody writes to meanwhile, and the arena below it: every key is where a reader looks
// for it, once; counts agree; every object and every large value is reachable once, waits once, or is free. entry is
// called for every entry. It is for tests.
func (t *Table) Check(entry func(Entry)) error {
	c := checker{t: t, objects: make(map[arena.Ref]int), larges: make(map[uint32]bool), entry: entry}
	var heaps []*arena.Heap
	for i := range t.shards {
		if err := c.shard(&t.shards[i]); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
		heaps = append(heaps, t.shards[i].heap)
	}
	if err := c.checkLarges(); err != nil {
		return err
	}
	if err := t.arena.Check(heaps, iter.Seq2[arena.Ref, int](func(yield func(arena.Ref, int) bool) {
		for r, n := range c.objects {
			if !yield(r, n) {
				return
			}
		}
	})); err != nil {
		return fmt.Errorf("arena: %w", err)
	}
	return nil
}

type checker struct {
	t       *Table
	objects map[arena.Ref]int // bytes of each object that was met
	larges  map[uint32]bool   // numbers of large values that were met
	bytes   int64             // of these
	entry   func(Entry)
	// What a shard's rings have.
	kept, keptBytes int64
}

// own notes an object of n bytes.
func (c *checker) own(r arena.Ref, n int) error {
	if _, twice := c.objects[r]; twice {
		return fmt.Errorf("object %#x is reachable twice", r)
	}
	c.objects[r] = n
	return nil
}

// large notes the large value of an entry, if it has one.
func (c *checker) large(e Entry) error {
	n := e.large()
	if n == 0 {
		return nil
	}
	if c.larges[n] {
		return fmt.Errorf("large value %d is reachable twice", n)
	}
	if c.t.larges.at(n) == nil {
		return fmt.Errorf("large value %d is not there", n)
	}
	c.larges[n] = true
	c.bytes += e.largeSize()
	return nil
}

func (c *checker) checkLarges() error {
	l := &c.t.larges
	if c.bytes != l.bytes {
		return fmt.Errorf("large values count %d bytes, there are %d", l.bytes, c.bytes)
	}
	for _, n := range l.free {
		if c.larges[n] {
			return fmt.Errorf("large value %d is reachable and free", n)
		}
		c.larges[n] = true
	}
	all := 0
	if list := l.all.Load(); list != nil {
		all = len(*list)<<largeBits - 1
	}
	if len(c.larges) != all {
		return fmt.Errorf("of %d numbers for large values %d are lost", all, all-len(c.larges))
	}
	return nil
}

func (c *checker) shard(sh *Shard) error {
	t := c.t
	d := t.directory(sh.root().Load())
	if err := c.own(d.ref, 8<<d.depth()); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	var err error
	sh.segments(func(g segment, h uint64) {
		if err == nil {
			if err = c.segment(sh, d, g, h); err != nil {
				err = fmt.Errorf("segment of hash %#x: %w", h, err)
			}
		}
	})
	if err != nil {
		return err
	}
	if sh.kept != c.kept || sh.keptBytes != c.keptBytes {
		return fmt.Errorf("%d earlier versions of %d bytes are counted, there are %d of %d",
			sh.kept, sh.keptBytes, c.kept, c.keptBytes)
	}
	c.kept, c.keptBytes = 0, 0
	waiting := int64(0)
	sh.limbo.All(func(what uint64) {
		r := arena.Ref(what)
		waiting += int64(sh.limboSize(what))
		if err == nil {
			err = c.own(r, t.arena.SizeOf(r))
		}
		if err == nil && what&wholeEntry != 0 {
			err = c.large(sh.entry(r))
		}
	})
	if err == nil && waiting != sh.limbo.Bytes() {
		err = fmt.Errorf("%d bytes are counted that wait for readers, there are %d", sh.limbo.Bytes(), waiting)
	}
	return err
}

func (c *checker) segment(sh *Shard, d directory, g segment, h uint64) error {
	first, n := d.span(g, h)
	for i := first; i < first+n; i++ {
		if d.word(i).Load() != g.word(sh.table) {
			return fmt.Errorf("word %d of the directory shows another", i)
		}
	}
	if err := c.own(g.ref, segmentLines+g.lines*lineSize); err != nil {
		return err
	}
	count := int32(0)
	for i := range g.lines {
		if err := c.line(sh, g, h, i, &count); err != nil {
			return fmt.Errorf("line %d: %w", i, err)
		}
	}
	if count != *g.count() {
		return fmt.Errorf("%d keys are counted, there are %d", *g.count(), count)
	}
	return nil
}

func (c *checker) line(sh *Shard, g segment, h uint64, i int, count *int32) error {
	t := c.t
	first := g.line(i)
	for l, more := first, true; more; {
		ref := arena.Ref(l.ref(lastPlace).Load())
		var next line
		if next, more = t.overflow(ref); more {
			if err := c.own(ref, lineSize); err != nil {
				return fmt.Errorf("overflow line: %w", err)
			}
		}
		for j := range places {
			ref := arena.Ref(l.ref(j).Load())
			if ref == 0 || more && j == lastPlace {
				continue
			}
			*count++
			if err := c.place(sh, g, h, i, l, j, ref); err != nil {
				return fmt.Errorf("place %d: %w", j, err)
			}
		}
		l = next
	}
	return nil
}

func (c *checker) place(sh *Shard, g segment, first uint64, i int, l line, j int, ref arena.Ref) error {
	t := c.t
	if ref == refMoved {
		return fmt.Errorf("the entry is poisoned")
	}
	e := t.entry(ref)
	if k := e.header() & kindMask >> kindShift; k != kindPlain && k != kindLong {
		return fmt.Errorf("an object of kind %d", k)
	}
	h := t.hash(e.Key())
	switch {
	case h < first || h > g.last(first) || int(h)&(g.lines-1) != i:
		return fmt.Errorf("a key of hash %#x does not belong here", h)
	case l.tag(j) != tagOf(h):
		return fmt.Errorf("the tag is %#x, not %#x", l.tag(j), tagOf(h))
	case e.Version() == 0:
		return fmt.Errorf("an entry has no version")
	}
	if p := sh.Find(h, e.Key()); p.in.p != l.p || p.i != j || p.ref != ref {
		return fmt.Errorf("a key is there twice, or can't be found")
	}
	if err := c.large(e); err != nil {
		return err
	}
	if c.entry != nil {
		c.entry(e)
	}
	if err := c.ring(e); err != nil {
		return err
	}
	return c.own(ref, e.size())
}

// ring checks the earlier versions of an entry.
func (c *checker) ring(e Entry) error {
	t := c.t
	r, ref := t.ringOf(e)
	if ref == 0 {
		return nil
	}
	newer := e.Version()
	for i := r.count() - 1; i >= 0; i-- {
		old := arena.Ref(*r.slot(i))
		o := t.entry(old)
		if !o.is(e.Key()) || o.Version() >= newer {
			return fmt.Errorf("an earlier version is another key's, or %d behind %d", o.Version(), newer)
		}
		newer = o.Version()
		c.kept++
		c.keptBytes += int64(t.arena.SizeOf(old)) + o.largeSize()
		if err := c.large(o); err != nil {
			return err
		}
		if err := c.own(old, o.size()); err != nil {
			return err
		}
	}
	c.keptBytes += int64(t.arena.SizeOf(ref))
	return c.own(ref, r.size())
}
