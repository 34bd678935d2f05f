package resp

import "kv/store"

// found is an entry as a command sees it: where the store has it, within a change of keys, or a copy; the zero value is none.
type found struct {
	here store.Found
	copy *store.Entry
}

func (f found) Exists() bool { return f.copy != nil || f.here.Exists() }

func (f found) Key() []byte {
	if f.copy != nil {
		return f.copy.Key()
	}
	return f.here.Key()
}

func (f found) Value() []byte {
	if f.copy != nil {
		return f.copy.Value()
	}
	return f.here.Value()
}

func (f found) Version() uint64 {
	if f.copy != nil {
		return f.copy.Version()
	}
	return f.here.Version()
}

func (f found) Expiry() uint64 {
	if f.copy != nil {
		return f.copy.Expiry()
	}
	return f.here.Expiry()
}

func (f found) Len() int {
	if f.copy != nil {
		return f.copy.Len()
	}
	return f.here.Len()
}

// change is a keyspace that is being changed.
type change struct{ *store.Update }

func (c change) Get(key []byte) found  { return found{here: c.Update.Get(key)} }
func (c change) Expiry(e found) uint64 { return c.Update.Expiry(e.here) }
