// Package load moves many records between a server and a file, and measures a server under load.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"kv/protocol"
	"kv/protocol/client"
	"kv/repl/text"
)

// Bounds of an import. A batch is one request, all of it applied or nothing.
const (
	batchRecords = 256      // records of a batch
	batchBytes   = 64 << 10 // bytes of keys and values after which a batch is full
	window       = 32       // batches under way
	windowBytes  = 8 << 20  // bytes under way after which no more is sent; one large batch may pass it
)

// Write sends records as one request: all at one instant.
func Write(ctx context.Context, c *client.Client, records []text.Record) (version uint64, err error) {
	b := batch{records: records}
	if !b.expires() {
		return c.MSet(ctx, b.pairs()...)
	}
	p, err := c.Txn(ctx, b.txn())
	return p.Version, err
}

// batch is some records that are sent together.
type batch struct {
	records []text.Record
	bytes   int
	lines   Lines // theirs
	call    *client.Call
}

func (b *batch) expires() bool {
	for _, r := range b.records {
		if r.Expiry != 0 {
			return true
		}
	}
	return false
}

func (b *batch) pairs() []protocol.Pair {
	pairs := make([]protocol.Pair, len(b.records))
	for i, r := range b.records {
		pairs[i] = protocol.Pair{Key: r.Key, Value: r.Value}
	}
	return pairs
}

// txn is the batch as a transaction: only there can records of one request expire. The times go as they are: the server's
// clock says which have passed.
func (b *batch) txn() protocol.Txn {
	var q protocol.Txn
	for _, r := range b.records {
		op := protocol.TxnOp{Kind: protocol.TxnSet, Key: r.Key, Value: r.Value}
		if r.Expiry != 0 {
			op.Kind, op.ExpireAt = protocol.TxnSetAt, r.Expiry
		}
		q.Ops = append(q.Ops, op)
	}
	return q
}

func (b *batch) start(ctx context.Context, c *client.Client) {
	if b.expires() {
		b.call = c.Start(ctx, b.txn().AppendTo)
	} else {
		pairs := b.pairs()
		b.call = c.Start(ctx, func(dst []byte, id uint32) []byte { return protocol.AppendMSet(dst, id, pairs...) })
	}
}

// ImportOptions say how to read the input.
type ImportOptions struct {
	JSON      bool                 // JSON Lines instead of the text form
	End       byte                 // what ends a line of the text form
	KeepGoing bool                 // skip what is wrong or refused
	Wrong     func(error)          // told of each line that is skipped, and each batch
	Progress  func(r ImportReport) // told now and then how far it is; may be nil
}

// ImportReport says how far an import got.
type ImportReport struct {
	Lines   int   // lines read
	Bytes   int64 // bytes read
	Applied int   // records that the server has
	Skipped int   // lines that were wrong, or refused, with KeepGoing
	Ranges  Lines // the lines of the records that the server has
	Left    Lines // the lines that were skipped
	First   error // why the first of them was; nil: none was
	Unknown Lines // the lines of records that it may have or not
}

// Lines is a set of line numbers: ranges in order, each first to last.
type Lines [][2]int

// add adds lines of which none is there yet. They mostly come in order.
func (l *Lines) add(first, last int) {
	n := len(*l)
	if n > 0 && (*l)[n-1][1]+1 == first {
		(*l)[n-1][1] = last
		return
	}
	i := sort.Search(n, func(i int) bool { return (*l)[i][0] > first })
	*l = slices.Insert(*l, i, [2]int{first, last})
}

func (l *Lines) addAll(more Lines) {
	for _, r := range more {
		l.add(r[0], r[1])
	}
}

// String returns the ranges in words; "none" where there are none.
func (l Lines) String() string {
	if len(l) == 0 {
		return "none"
	}
	var b strings.Builder
	for i, r := range l {
		if i == 20 {
			fmt.Fprintf(&b, ", and %d more ranges", len(l)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if r[0] == r[1] {
			fmt.Fprint(&b, r[0])
		} else {
			fmt.Fprintf(&b, "%d-%d", r[0], r[1])
		}
	}
	return b.String()
}

// Import reads records and sends them in batches, many under way at a time. It stops at the first line that is wrong,
// with a *text.SyntaxError, and at the first batch that is refused; the batch with the wrong line and what comes after
// it is not sent. What was under way by then is waited for, and the report tells what came of it. In a cluster it goes
// on where another server leads, or the one that led has ended, and waits where none does, with this patience.
func Import(ctx context.Context, p Patience, in io.Reader, o ImportOptions) (ImportReport, error) {
	m := importer{ctx: ctx, patience: p, o: o, in: text.NewReader(in, o.End)}
	var err error
	if m.client, err = p.Connect(ctx); err != nil {
		return m.report, err
	}
	err = m.run()
	for len(m.underWay) > 0 {
		if e := m.settle(); err == nil {
			err = e
		}
	}
	m.count()
	return m.report, err
}

type importer struct {
	ctx      context.Context
	patience Patience
	client   *client.Client // as Connect gave it last
	o        ImportOptions
	in       *text.Reader
	next     batch
	underWay []batch
	bytes    int  // of what is under way
	moved    bool // another server leads, or none: what is under way is sent again there, in order, before anything else is
	gaveUp   bool // none did for as long as it was waited for: nothing is sent any more
	report   ImportReport
}

func (m *importer) run() error {
	for m.ctx.Err() == nil {
		read := m.in.Record
		if m.o.JSON {
			read = m.in.JSONRecord
		}
		r, err := read()
		if wrong := (*text.SyntaxError)(nil); errors.As(err, &wrong) && m.o.KeepGoing {
			m.report.Skipped++
			m.skip(Lines{{m.in.Line(), m.in.Line()}}, err)
			continue
		}
		if err == io.EOF {
			return m.send()
		}
		if err != nil {
			return err
		}
		m.next.lines.add(m.in.Line(), m.in.Line())
		m.next.records = append(m.next.records, r)
		m.next.bytes += len(r.Key) + len(r.Value)
		if len(m.next.records) == batchRecords || m.next.bytes >= batchBytes {
			if err := m.send(); err != nil {
				return err
			}
		}
	}
	return m.ctx.Err()
}

// skip notes that lines were skipped, for this reason.
func (m *importer) skip(lines Lines, why error) {
	if left := m.report.Left; len(left) == 0 || lines[0][0] < left[0][0] {
		m.report.First = why
	}
	m.report.Left.addAll(lines)
	m.o.Wrong(why)
}

// send starts the batch that was gathered, after waiting for room.
func (m *importer) send() error {
	if len(m.next.records) == 0 {
		return nil
	}
	for len(m.underWay) > 0 && (m.moved || len(m.underWay) >= window || m.bytes+m.next.bytes > windowBytes) {
		if err := m.settle(); err != nil {
			return err
		}
	}
	b := m.next
	b.start(m.ctx, m.client)
	m.bytes += b.bytes
	m.next = batch{records: make([]text.Record, 0, batchRecords)}
	b.records = b.records[:len(b.records):len(b.records)]
	m.underWay = append(m.underWay, b)
	return nil
}

// settle waits for the oldest batch under way.
func (m *importer) settle() error {
	b := m.underWay[0]
	m.underWay = m.underWay[1:]
	m.bytes -= b.bytes
	_, _, err := b.call.Wait(m.ctx)
	m.moved = m.moved || notApplied(err)
	if m.moved && !m.gaveUp && (err == nil || notApplied(err)) { // a batch that was applied, too: it has to be applied after the batches before it
		err = m.again(b, err)
	}
	m.moved = m.moved && len(m.underWay) > 0
	refused := (*protocol.Error)(nil)
	switch {
	case notApplied(err): // so would be all that comes after it
		m.gaveUp = true
		err = fmt.Errorf("lines %v, and what comes after them: %w", b.lines, err)
	case err == nil:
		m.report.Applied += len(b.records)
		m.report.Ranges.addAll(b.lines)
	case errors.As(err, &refused):
		err = fmt.Errorf("lines %v: %w", b.lines, err)
		if m.o.KeepGoing {
			m.report.Skipped += len(b.records)
			m.skip(b.lines, err)
			err = nil
		}
	case errors.Is(err, client.ErrUnknown):
		m.report.Unknown.addAll(b.lines)
	}
	m.count()
	if m.o.Progress != nil {
		m.o.Progress(m.report)
	}
	return err
}

// again sends a batch again, which was answered with answered, to whoever leads, and while nobody does again.
func (m *importer) again(b batch, answered error) error {
	return m.patience.again(m.ctx, answered, notApplied, func(c *client.Client) error {
		m.client = c
		_, err := Write(m.ctx, c, b.records)
		return err
	})
}

func (m *importer) count() { m.report.Lines, m.report.Bytes = m.in.Line(), m.in.Bytes() }
