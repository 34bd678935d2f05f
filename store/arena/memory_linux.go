package arena

import "golang.org/x/sys/unix"

const mapNoReserve = unix.MAP_NORESERVE

// advise asks for huge pages, since lookups touch memory without pattern, or for none, where a whole one is more than
// what is taken at a time; and keeps the range out of core dumps. Where the system has no such pages, or no such flag,
// all works without.
func advise(all []byte, huge bool) {
	pages := unix.MADV_NOHUGEPAGE
	if huge {
		pages = unix.MADV_HUGEPAGE
	}
	_ = unix.Madvise(all, pages)
	_ = unix.Madvise(all, unix.MADV_DONTDUMP)
}

func discard(b []byte) bool { return unix.Madvise(b, unix.MADV_DONTNEED) == nil }
