package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kv/netserver/nettest"
	"kv/protocol"
	"kv/protocol/client"
	"kv/protocol/fakeserver"
	"kv/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startServer starts a server and returns a client of it.
func startServer(t *testing.T, o store.Options) *client.Client {
	s := nettest.Start(t, nettest.Options{Store: o})
	c, err := client.Dial(context.Background(), s.Addr, client.Options{Timeout: 20 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// patience is one that has this connection alone, while it is open.
func patience(c *client.Client, d time.Duration) Patience {
	return Patience{For: d, Connect: func(context.Context) (*client.Client, error) {
		select {
		case <-c.Done():
			return nil, errors.New("nobody is there")
		default:
			return c, nil
		}
	}}
}

// records are lines of the text form with the numbers first to last.
func records(first, last int) string {
	var b strings.Builder
	for i := first; i <= last; i++ {
		fmt.Fprintf(&b, "key%d\t%d\n", i, i)
	}
	return b.String()
}

func keys(t *testing.T, c *client.Client) (n int) {
	require.NoError(t, Export(context.Background(), patience(c, 0), nil, func(items []protocol.ScanItem) error {
		n += len(items)
		return nil
	}))
	return n
}

// figure is one of the server's figures.
func figure(t *testing.T, c *client.Client, name string) uint64 {
	stats, err := c.Stats(context.Background())
	require.NoError(t, err)
	i := slices.IndexFunc(stats, func(s protocol.Stat) bool { return s.Name == name })
	require.GreaterOrEqual(t, i, 0, name)
	return stats[i].Value
}

func TestImportAndExport(t *testing.T) {
	c := startServer(t, store.Options{})
	var shown int
	r, err := Import(context.Background(), patience(c, 0), strings.NewReader(records(1, 20_000)),
		ImportOptions{End: '\n', Progress: func(ImportReport) { shown++ }})
	require.NoError(t, err)
	assert.Equal(t, 20_000, r.Applied)
	assert.Equal(t, Lines{{1, 20_000}}, r.Ranges)
	assert.Positive(t, shown)
	seen := map[string]string{}
	require.NoError(t, Export(context.Background(), patience(c, 0), []byte("key1"), func(items []protocol.ScanItem) error {
		for _, it := range items {
			if _, twice := seen[string(it.Key)]; twice {
				return fmt.Errorf("%s came twice", it.Key)
			}
			seen[string(it.Key)] = string(it.Value)
		}
		return nil
	}))
	assert.Len(t, seen, 11_111)
	assert.Equal(t, "12345", seen["key12345"])
}

func TestAnImportThatTheServerRefuses(t *testing.T) {
	c := startServer(t, store.Options{MaxMemory: 2 << 20})
	r, err := Import(context.Background(), patience(c, 0), strings.NewReader(records(1, 100_000)), ImportOptions{End: '\n'})
	require.ErrorIs(t, err, protocol.ErrOutOfMemory)
	assert.ErrorContains(t, err, "lines ")
	require.NotEmpty(t, r.Ranges)
	applied := 0
	for _, l := range r.Ranges {
		applied += l[1] - l[0] + 1
	}
	assert.Equal(t, r.Applied, applied, "the report's lines are the records that were applied")
	assert.Equal(t, applied, keys(t, c))
	assert.Less(t, r.Lines, 100_000, "it stops")
}

func TestAnImportWithWrongLines(t *testing.T) {
	in := records(1, 600) + "wrong\n" + records(601, 1000)
	c := startServer(t, store.Options{})
	r, err := Import(context.Background(), patience(c, 0), strings.NewReader(in), ImportOptions{End: '\n'})
	assert.ErrorContains(t, err, "line 601: no TAB")
	assert.Equal(t, Lines{{1, 512}}, r.Ranges, "the batch with the wrong line, and what follows, was not sent")
	assert.Equal(t, 512, keys(t, c))

	var wrong []error
	r, err = Import(context.Background(), patience(c, 0), strings.NewReader(in),
		ImportOptions{End: '\n', KeepGoing: true, Wrong: func(err error) { wrong = append(wrong, err) }})
	require.NoError(t, err)
	assert.Equal(t, 1000, r.Applied)
	assert.Equal(t, 1, r.Skipped)
	assert.Equal(t, Lines{{601, 601}}, r.Left)
	assert.Equal(t, Lines{{1, 600}, {602, 1001}}, r.Ranges, "what was skipped is not reported as applied")
	assert.Len(t, wrong, 1)
	assert.Equal(t, 1000, keys(t, c))
}

func TestTheOutcomeOfALostImportIsUnknown(t *testing.T) {
	addr := fakeServer(t, func(in *bufio.Reader, out net.Conn) {
		readFrame(in) // takes a batch, and goes away
	})
	c, err := client.Dial(context.Background(), addr, client.Options{})
	require.NoError(t, err)
	defer c.Close()
	r, err := Import(context.Background(), patience(c, 0), strings.NewReader(records(1, 256)), ImportOptions{End: '\n'})
	assert.ErrorIs(t, err, client.ErrUnknown)
	assert.Equal(t, Lines{{1, 256}}, r.Unknown)
	assert.Zero(t, r.Applied)
}

func TestLines(t *testing.T) {
	var l Lines
	assert.Equal(t, "none", l.String())
	l.add(1, 10)
	l.add(11, 11)
	l.add(13, 13)
	assert.Equal(t, "1-11, 13", l.String())
	for i := 15; i < 100; i += 2 {
		l.add(i, i)
	}
	assert.Contains(t, l.String(), ", and 25 more ranges")
}

func TestBench(t *testing.T) {
	c := startServer(t, store.Options{History: 5})
	o := BenchOptions{Addr: c.Addr(), Connections: 3, Pipeline: 7, Keys: 100, Prefix: "b:", ValueSize: 10, Get: 1,
		Set: 1, Del: 1, Zipf: true, Duration: 50 * time.Millisecond}
	require.NoError(t, Fill(context.Background(), c, o))
	assert.Equal(t, 100, keys(t, c))
	r, err := Bench(context.Background(), o, nil)
	require.NoError(t, err)
	require.NoError(t, r.Err)
	assert.Zero(t, r.Refused+r.Unanswered)
	assert.Positive(t, r.Gets)
	assert.Positive(t, r.Sets)
	assert.Positive(t, r.Dels)
	assert.Equal(t, r.Ops(), r.Latency.TotalCount())
	require.NoError(t, Clear(context.Background(), c, o))
	assert.Zero(t, keys(t, c))
	assert.Zero(t, figure(t, c, "history_versions"), "nor is their past")

	o.Rate, o.Duration = 3000, 100*time.Millisecond
	r, err = Bench(context.Background(), o, nil)
	require.NoError(t, err)
	require.NoError(t, r.Err)
	assert.EqualValues(t, 300, r.Ops(), "an open loop sends what the clock wants")
	assert.EqualValues(t, 300, r.Latency.TotalCount())
}

// An open loop goes on while the server stalls, and the requests that met the stall have it in their latencies: all of
// them but the last ones waited for a good part of it.
func TestAStallIsNotSparedTheRequestsThatMeetIt(t *testing.T) {
	const requests = 200
	addr := fakeServer(t, func(in *bufio.Reader, out net.Conn) {
		var answers []byte
		for range requests { // none is answered before all have come
			h := readFrame(in)
			answers = protocol.AppendHeader(answers, h.Opcode, 0, h.ID, 0)
		}
		out.Write(answers)
		h := readFrame(in)
		out.Write(protocol.AppendHeader(nil, h.Opcode, 0, h.ID, 0))
	})
	r, err := Bench(context.Background(), BenchOptions{Addr: addr, Connections: 1, Pipeline: 1, Keys: 1, Get: 1,
		Rate: 1000, Duration: requests * time.Millisecond}, nil)
	require.NoError(t, err)
	require.NoError(t, r.Err)
	assert.EqualValues(t, requests, r.Ops())
	assert.GreaterOrEqual(t, r.Latency.ValueAtPercentile(50), int64(95*time.Millisecond))
}

// readFrame reads one request. It greets a client that says HELLO.
func readFrame(in io.Reader) protocol.Header {
	head := make([]byte, protocol.HeaderSize)
	if _, err := io.ReadFull(in, head); err != nil {
		return protocol.Header{}
	}
	h := protocol.ParseHeader(head)
	io.CopyN(io.Discard, in, int64(h.BodySize()))
	return h
}

// fakeServer serves connections with script, after a HELLO if one begins so.
func fakeServer(t *testing.T, script func(in *bufio.Reader, out net.Conn)) string {
	return fakeserver.Start(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		if head, err := in.Peek(protocol.HeaderSize); err == nil && protocol.ParseHeader(head).Opcode == protocol.OpHello {
			h := readFrame(in)
			c.Write(protocol.HelloResponse{Version: protocol.Version}.AppendTo(nil, h.ID))
		}
		script(in, c)
	})
}

// Where no server leads, or the one that led ends, an import asks again, in order, for as long as it has patience; it
// never sends again what may have been applied.
func TestAnImportWaitsForALeader(t *testing.T) {
	const batches = 5
	nobody := &protocol.Error{Status: protocol.StatusUnavailable, Message: "no node leads now: nothing was applied, try again"}
	gone := &protocol.Error{Status: protocol.StatusMoved, Message: "127.0.0.1:1"}
	ending := &protocol.Error{Status: protocol.StatusUnavailable, Message: "the server is shutting down: nothing was applied"}
	maybe := &protocol.Error{Status: protocol.StatusUnavailable, Message: "it may have been applied"}
	all := Lines{{1, 1280}}
	for name, test := range map[string]struct {
		answers  []*protocol.Error // to the first batches that come, nil: it is applied, as all others are; with ending the server ends
		again    int               // how often a server is found when the connection is closed
		patience time.Duration
		asked    int // how many batches come
		applied  Lines
		unknown  Lines
		says     string
	}{
		"none leads for a while": {
			answers: []*protocol.Error{nil, nobody, nobody, nil, nobody, nobody, nobody}, patience: time.Minute,
			asked: batches + 6, applied: all,
		},
		"who led is gone": {
			answers: []*protocol.Error{gone, nil, nil, nil, nil, gone}, patience: time.Minute,
			asked: batches + 6, applied: all,
		},
		"none leads": {
			answers: []*protocol.Error{nil, nobody, nil, nobody, nobody, nobody},
			asked:   batches + 1, applied: Lines{{1, 256}, {513, 768}},
			says: "lines 257-512, and what comes after them: no server has led for 0s: unavailable: no node leads now: nothing was applied, try again",
		},
		"one may have been applied": {
			answers: []*protocol.Error{nil, maybe}, patience: time.Minute,
			asked: batches, applied: Lines{{1, 256}, {513, 1280}},
			says: "lines 257-512: unavailable: it may have been applied",
		},
		"the server ends": {
			answers: []*protocol.Error{nil, ending}, patience: time.Minute,
			asked: batches, applied: Lines{{1, 256}},
			says: "lines 257-512, and what comes after them: unavailable: the server is shutting down: nothing was applied",
		},
		"the server ends, and others are there": {
			answers: []*protocol.Error{nil, ending, nobody}, again: 1, patience: time.Minute,
			asked: batches + 4, applied: all,
		},
		"one server after another ends": {
			answers: []*protocol.Error{ending, nil, nil, nil, nil, nil, nil, ending}, again: 2, patience: time.Minute,
			asked: batches + 6, applied: all,
		},
	} {
		for _, keepGoing := range []bool{false, true} {
			var asked atomic.Int32
			ended := make(chan struct{}, 1+test.again)
			addr := fakeServer(t, func(in *bufio.Reader, out net.Conn) {
				defer func() { ended <- struct{}{} }()
				for {
					h := readFrame(in)
					if h.Length == 0 {
						return
					}
					n := int(asked.Add(1))
					if n > len(test.answers) || test.answers[n-1] == nil {
						out.Write(protocol.AppendVersion(nil, h.Opcode, h.ID, 1))
						continue
					}
					answer := protocol.AppendError(nil, h.Opcode, h.ID, test.answers[n-1])
					if test.answers[n-1] == ending { // once all have come; those behind it are not applied, as the goodbye says
						for ; n < batches; n++ {
							readFrame(in)
							asked.Add(1)
						}
						out.Write(protocol.AppendError(answer, 0, 0, ending))
						return
					}
					out.Write(answer)
				}
			})
			dial := func(ctx context.Context) (*client.Client, error) {
				return client.Dial(ctx, addr, client.Options{Timeout: 20 * time.Second})
			}
			c, err := dial(t.Context())
			require.NoError(t, err, name)
			found := 0
			p := Patience{For: test.patience, Connect: func(ctx context.Context) (*client.Client, error) {
				if last, err := patience(c, 0).Connect(ctx); err == nil || found == test.again {
					return last, err
				}
				found++
				c.Close()
				c, err = dial(ctx)
				return c, err
			}}
			wrong := 0
			r, err := Import(t.Context(), p, strings.NewReader(records(1, batches*batchRecords)),
				ImportOptions{End: '\n', KeepGoing: keepGoing, Wrong: func(error) { wrong++ }})
			c.Close()
			for range 1 + found {
				<-ended
			}
			require.Equal(t, test.again, found, name)
			require.EqualValues(t, test.asked, asked.Load(), name)
			require.Equal(t, test.applied, r.Ranges, name)
			require.Equal(t, test.unknown, r.Unknown, name)
			if skipped := keepGoing && strings.HasSuffix(test.says, maybe.Message); skipped {
				require.Equal(t, 1, wrong, name)
				require.EqualError(t, r.First, test.says, name)
			} else if require.Zero(t, wrong, name); test.says == "" {
				require.NoError(t, err, name)
			} else {
				require.EqualError(t, err, test.says, name)
			}
		}
	}
}

// A server that takes nothing, or answers nothing, ends an open loop when its last request is late.
func TestAnOpenLoopEndsAtAStoppedServer(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	for name, script := range map[string]func(*bufio.Reader, net.Conn){
		"it reads nothing":   func(*bufio.Reader, net.Conn) { <-done },
		"it answers nothing": func(in *bufio.Reader, _ net.Conn) { io.Copy(io.Discard, in) },
		"it stops in between": func(in *bufio.Reader, out net.Conn) {
			h := readFrame(in)
			out.Write(protocol.AppendVersion(nil, h.Opcode, h.ID, 1))
			<-done
		},
	} {
		r, err := Bench(context.Background(), BenchOptions{
			Addr: fakeServer(t, script), Client: client.Options{Timeout: 20 * time.Millisecond},
			Connections: 1, Pipeline: 1, Keys: 1, Set: 1, ValueSize: 1 << 10, Rate: 1e6, Duration: 20 * time.Millisecond,
		}, nil)
		require.NoError(t, err)
		assert.ErrorContains(t, r.Err, "no answer within 20ms", name)
		assert.Positive(t, r.Unanswered, name)
	}
}

// An answer to a request that was under way when ctx ended is still waited for: what it stored is known then.
func TestWhatIsUnderWayIsWaitedFor(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	addr := fakeServer(t, func(in *bufio.Reader, out net.Conn) {
		h := readFrame(in)
		cancel()
		out.Write(protocol.AppendVersion(nil, h.Opcode, h.ID, 1))
		io.Copy(io.Discard, in)
	})
	r, err := Bench(ctx, BenchOptions{Addr: addr, Connections: 1, Pipeline: 1, Keys: 1, Set: 1, Duration: time.Minute}, nil)
	require.NoError(t, err)
	require.NoError(t, r.Err)
	assert.EqualValues(t, 1, r.Sets)
	assert.Zero(t, r.Unanswered)
}

// Who leads changes twice while an import is under way, the second time back: every record is stored, and of two with
// one key the later.
func TestAnImportGoesOnWhereAnotherServerLeads(t *testing.T) {
	leads := startServer(t, store.Options{})
	const batches, kept = 5, 3
	addr := fakeServer(t, func(in *bufio.Reader, out net.Conn) {
		for batch := 0; ; batch++ {
			h := readFrame(in)
			if h.Length == 0 {
				return
			}
			if batch == kept { // it led again for a moment
				out.Write(protocol.AppendVersion(nil, h.Opcode, h.ID, 1))
				continue
			}
			out.Write(protocol.AppendError(nil, h.Opcode, h.ID,
				&protocol.Error{Status: protocol.StatusMoved, Message: leads.Addr()}))
		}
	})
	c, err := client.Dial(t.Context(), addr, client.Options{Timeout: 20 * time.Second})
	require.NoError(t, err)
	defer c.Close()
	var in strings.Builder
	for i := range batches * batchRecords {
		fmt.Fprintf(&in, "key%d\t%d\n", i%batchRecords, i)
	}
	r, err := Import(t.Context(), patience(c, 0), strings.NewReader(in.String()), ImportOptions{End: '\n'})
	require.NoError(t, err)
	assert.Equal(t, batches*batchRecords, r.Applied)
	assert.Equal(t, Lines{{1, batches * batchRecords}}, r.Ranges)
	assert.Equal(t, batchRecords, keys(t, leads))
	v, err := leads.Get(t.Context(), []byte("key7"))
	require.NoError(t, err)
	assert.Equal(t, fmt.Sprint((batches-1)*batchRecords+7), string(v.Data))
}
