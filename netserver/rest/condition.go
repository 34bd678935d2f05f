package rest

import (
	"net/http"
	"strconv"
	"strings"

	"kv/store"
)

// conditions are those of the headers If-Match and If-None-Match, RFC 9110, section 13.
type conditions struct {
	match, noneMatch *tags // nil: there is none
}

// tags are the entity tags of a header: any, or a list of versions.
type tags struct {
	any  bool
	list []tag
}

// tag is an entity tag. A tag that this server has not made has version 0, which no key has.
type tag struct {
	version uint64
	weak    bool
}

func (x *exchange) conditions() (c conditions, err error) {
	if c.match, err = x.tags("If-Match"); err != nil {
		return c, err
	}
	c.noneMatch, err = x.tags("If-None-Match")
	return c, err
}

// tags reads a header: a * or a list of tags, each "text" or W/"text".
func (x *exchange) tags(header string) (*tags, error) {
	lines := x.r.Header.Values(header)
	if len(lines) == 0 {
		return nil, nil
	}
	malformed := badRequest(header + ` is *, or a list of ETags such as "1764360000000000"`)
	rest := strings.TrimSpace(strings.Join(lines, ","))
	if rest == "*" {
		return &tags{any: true}, nil
	}
	t := &tags{}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			break
		}
		var one tag
		rest, one.weak = strings.CutPrefix(rest, "W/")
		text, found := strings.CutPrefix(rest, `"`)
		text, after, closed := strings.Cut(text, `"`)
		if after = strings.TrimLeft(after, " \t"); !found || !closed || after != "" && after[0] != ',' {
			return nil, malformed
		}
		one.version = versionOf(text)
		t.list = append(t.list, one)
		rest = after
	}
	if len(t.list) == 0 {
		return nil, malformed
	}
	return t, nil
}

// versionOf returns the version that a tag's text is, 0 if it is none.
func versionOf(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0
	}
	return n
}

func etagOf(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }

// has reports whether one of the tags is that of version, or any version is asked for. An absent key has version 0, and
// no tag.
func (t *tags) has(version uint64, weak bool) bool {
	if version == 0 {
		return false
	}
	for _, one := range t.list {
		if one.version == version && (weak || !one.weak) {
			return true
		}
	}
	return t.any
}

// check returns the conflict of a write, where a condition does not hold of the key's current version, 0: it is absent.
func (c conditions) check(version uint64) error {
	if c.match != nil && !c.match.has(version, false) || c.noneMatch != nil && c.noneMatch.has(version, true) {
		return &problem{
			Status: http.StatusPreconditionFailed, Detail: "the condition of " + c.names() + " does not hold: nothing was changed",
			conflict: true, version: version, index: -1,
		}
	}
	return nil
}

func (c conditions) names() string {
	switch {
	case c.match == nil:
		return "If-None-Match"
	case c.noneMatch == nil:
		return "If-Match"
	}
	return "If-Match or If-None-Match"
}

// unchanged reports whether a read is answered 304: the client has that version.
func (c conditions) unchanged(version uint64) bool {
	return c.noneMatch != nil && c.noneMatch.has(version, true)
}

// current returns the version of what Update.Get has found; 0: nothing.
func current(e store.Found) uint64 {
	if !e.Exists() {
		return 0
	}
	return e.Version()
}
