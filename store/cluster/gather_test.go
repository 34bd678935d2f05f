package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// gathered has batches of writers, on a fake clock. A batch takes took; who is answered writes again after back, and
// others come evenly, one after every; 0: nobody does. It returns how many records a batch had on average, and what
// share of the time batches waited.
func gathered(took, back, every time.Duration, writers int) (records float64, waiting float64) {
	const step = 10 * time.Microsecond
	var g gathering
	var ends time.Duration // of the batch in flight, 0: none is
	open, inFlight, batches, sum := writers, 0, 0, 0
	var waited time.Duration
	var returns []time.Duration
	end := 10 * time.Second
	for now := time.Second; now < time.Second+end; now += step {
		for len(returns) > 0 && returns[0] <= now {
			returns = returns[1:]
			open++
		}
		if every > 0 && now%every == 0 {
			open++
		}
		if ends != 0 && now >= ends {
			g.begin(inFlight, open, now, took)
			for range inFlight {
				if back > 0 {
					returns = append(returns, now+back)
				}
			}
			ends = 0
		}
		if ends == 0 && open > 0 {
			if g.holds(open, now) {
				waited += step
				continue
			}
			batches, sum = batches+1, sum+open
			ends, inFlight, open = now+took, open, 0
		}
	}
	return float64(sum) / float64(batches), waited.Seconds() / end.Seconds()
}

func TestWritersThatAreAnsweredTogetherShareTheNextBatch(t *testing.T) {
	for _, test := range []struct {
		name              string
		took, back, every time.Duration
		writers           int
		least, most       float64 // records in a batch
		waiting           float64 // at most, of the time
	}{
		{"one writer waits for nobody", 400 * time.Microsecond, 100 * time.Microsecond, 0, 1, 1, 1, 0},
		{"writers who are back at once", 400 * time.Microsecond, 100 * time.Microsecond, 0, 64, 60, 64, 0.21},
		{"writers who take as long as a batch", 400 * time.Microsecond, 400 * time.Microsecond, 0, 64, 60, 64, 0.51},
		{"two writers", 400 * time.Microsecond, 100 * time.Microsecond, 0, 2, 1.9, 2, 0.21},
		{"writers who are late", 400 * time.Microsecond, 1500 * time.Microsecond, 0, 64, 30, 64, 0.03},
		{"writers who do not wait for answers", 400 * time.Microsecond, 0, 20 * time.Microsecond, 0, 20, 22, 0.05},
		{"few of those", 400 * time.Microsecond, 0, 250 * time.Microsecond, 0, 1, 2, 0.2},
	} {
		t.Run(test.name, func(t *testing.T) {
			records, waiting := gathered(test.took, test.back, test.every, test.writers)
			require.GreaterOrEqual(t, records, test.least)
			require.LessOrEqual(t, records, test.most)
			require.LessOrEqual(t, waiting, test.waiting)
		})
	}
}

func TestABatchWaitsForWhoWasAnswered(t *testing.T) {
	const took = time.Millisecond
	for _, test := range []struct {
		name string
		back int // who write again while it waits, of eight
	}{{"all come back", 8}, {"some come back", 3}, {"one comes back", 1}} {
		t.Run(test.name, func(t *testing.T) {
			wakes := 0
			p := &Proposals{wake: func() { wakes++ }, room: leastRoom}
			p.open()
			write := func(n int) {
				for range n {
					_, err := p.Append(func(payload []byte) ([]byte, uint64) { return append(payload, 1), 1 })
					require.NoError(t, err)
				}
			}
			committed := func(b *Batch, now time.Duration) {
				got, skipped := p.match(batchID{epoch: b.epoch, number: b.number}, now)
				require.Same(t, b, got)
				require.False(t, skipped)
			}
			now := time.Second
			var b *Batch
			for range 3 { // nothing is known yet, and the next two do not wait
				write(8)
				b = p.take(now)
				require.NotNil(t, b)
				now += took
				committed(b, now)
			}
			require.Zero(t, p.due(), "there is nothing to propose")
			require.Nil(t, p.take(now))
			wakes = 0
			write(1)
			require.Equal(t, 1, wakes, "the loop has to know until when")
			require.Equal(t, now+2*took, p.due())
			write(test.back - 1)
			if test.back == 8 {
				require.Equal(t, 3, wakes, "the seventh is most of them, and the eighth is one more")
			} else {
				require.Equal(t, 1, wakes)
				require.Nil(t, p.take(now+2*took-1))
				now += 2 * took
			}
			b = p.take(now)
			require.NotNil(t, b)
			require.Equal(t, test.back, b.records)
			now += took
			committed(b, now)
			write(1)
			if test.back < 2 {
				require.NotNil(t, p.take(now), "it was in vain")
			} else {
				require.Nil(t, p.take(now))
				require.NotZero(t, p.due())
				require.True(t, p.close())
				require.Zero(t, p.due())
			}
		})
	}
}

// Who hands leadership over waits for all that has a version.
func TestABatchWaitsForNobodyWhileWritesAreHeld(t *testing.T) {
	p := &Proposals{wake: func() {}, room: leastRoom}
	p.open()
	_, err := p.Append(func(payload []byte) ([]byte, uint64) { return append(payload, 1), 1 })
	require.NoError(t, err)
	p.gather.some, p.gather.want, p.gather.until = 2, 8, time.Second
	require.Nil(t, p.take(0))
	p.hold(true)
	require.NotNil(t, p.take(0))
}
