package store

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzOperations reads its input as a program of small instructions, runs it on a store, and compares what is stored with a
// plain map after each. The first byte chooses the hash, whether there is history, and how much memory there is.
func FuzzOperations(f *testing.F) {
	f.Fuzz(func(t *testing.T, program []byte) {
		p := &input{rest: program}
		first := p.next()
		s := openTest(t, Options{History: int(first >> 3 & 3)}, masks[int(first&7)%len(masks)].mask)
		if first>>5 != 0 {
			s.budget.limit = s.budget.used.Load() + int64(first>>5)*500
		}
		plain := map[string]string{}
		expiry := map[string]uint64{}
		absent := func(key string) bool {
			_, ok := plain[key]
			return !ok || expiry[key] != 0 && expiry[key] <= s.Store.clock.now().millis()
		}
		for len(p.rest) > 0 {
			var err error
			switch op := p.next(); op % 8 {
			case 0: // set, perhaps with a TTL, or a time that may have passed
				key, value, end := p.key(), p.value(), uint64(p.next())
				o := SetOptions{TTL: end % 4}
				if end >= 0xc0 {
					o = SetOptions{ExpireAt: s.Store.clock.now().millis() + end%4 - 1}
				}
				if _, err = s.Set([]byte(key), []byte(value), o); err == nil {
					e := s.newValue(new(scratch), nil, nil, o.TTL, o.ExpireAt)
					if plain[key], expiry[key] = value, e.Expiry(); e.Deleted() {
						delete(plain, key)
					}
				}
			case 1: // set many
				var pairs []Pair
				for range p.next() % 16 {
					pairs = append(pairs, Pair{[]byte(p.key()), []byte(p.value())})
				}
				if _, err = s.MSet(pairs); err == nil {
					for _, q := range pairs {
						plain[string(q.Key)], expiry[string(q.Key)] = string(q.Value), 0
					}
				}
			case 2: // delete many
				var keys [][]byte
				existed := 0
				for range p.next() % 8 {
					key := p.key()
					if !absent(key) {
						existed++
						delete(plain, key)
					}
					keys = append(keys, []byte(key))
				}
				var n int
				n, _, err = s.Del(keys)
				require.NoError(t, err)
				require.Equal(t, existed, n)
			case 3: // a transaction
				var ops []Op
				for range p.next() % 8 {
					ops = append(ops, Op{Kind: OpGet + OpKind(p.next()%3), Key: []byte(p.key()), Value: []byte(p.value())})
				}
				var results []Result
				if results, _, err = s.Txn(nil, nil, ops); err == nil {
					for i, o := range ops {
						key := string(o.Key)
						switch o.Kind {
						case OpGet:
							require.Equal(t, absent(key), results[i].Entry == nil)
						case OpSet:
							plain[key], expiry[key] = string(o.Value), 0
						case OpDel:
							require.Equal(t, !absent(key), results[i].Existed)
							delete(plain, key)
						}
					}
				}
			case 4:
				s.clock.pass(int64(p.next() % 4))
			case 5:
				s.sweep()
			case 6: // roll back to some kept version
				key := p.key()
				if past := s.History(nil, []byte(key), 0); len(past) > 0 {
					e := past[int(p.next())%len(past)].Entry
					if _, err = s.Rollback([]byte(key), e.Version()); err == nil {
						if e.Deleted() {
							delete(plain, key)
						} else {
							plain[key], expiry[key] = string(e.Value()), 0
						}
					}
				}
			case 7: // set a run of keys
				from := int(p.next())
				var ops []Op
				for i := range 64 {
					ops = append(ops, Op{Kind: OpSet, Key: fmt.Append(nil, "run", from*8+i)})
				}
				if _, _, err = s.Txn(nil, nil, ops); err == nil {
					for _, o := range ops {
						plain[string(o.Key)], expiry[string(o.Key)] = "", 0
					}
				}
			}
			if err != nil {
				require.ErrorIs(t, err, ErrOutOfMemory)
				require.NotZero(t, s.budget.limit)
			}
		}
		want := map[string]int{}
		for key, value := range plain {
			e := s.Get([]byte(key))
			if absent(key) {
				require.Nil(t, e)
				continue
			}
			require.NotNil(t, e)
			require.Equal(t, value, text(e))
			want[key] = 1
		}
		require.Equal(t, want, scanAll(t, s.Session, ScanOptions{Limit: 3}))
	})
}

// input hands out a fuzzer's input piece by piece; behind its end come zeros.
type input struct{ rest []byte }

func (p *input) next() (b byte) {
	if len(p.rest) > 0 {
		b, p.rest = p.rest[0], p.rest[1:]
	}
	return b
}

func (p *input) key() string {
	if k := p.next() % 16; k > 0 {
		return fmt.Sprint("k", k)
	}
	return ""
}

func (p *input) value() string { return string(make([]byte, int(p.next())*int(p.next()%8))) }
