package rest

import (
	"net/http"

	"kv/protocol"
)

// statuses are the HTTP statuses of the protocol's, read in both directions: of several rows with the same status the
// first one counts. Moved is no redirection: that has the other's address for kv frames, and where its HTTP is nobody
// knows here.
var statuses = []struct {
	protocol protocol.Status
	http     int
}{
	{protocol.StatusNotFound, http.StatusNotFound},
	{protocol.StatusConflict, http.StatusConflict},
	{protocol.StatusConflict, http.StatusPreconditionFailed},
	{protocol.StatusBadRequest, http.StatusBadRequest},
	{protocol.StatusTooLarge, http.StatusRequestEntityTooLarge},
	{protocol.StatusOutOfMemory, http.StatusTooManyRequests},     // requests need memory now
	{protocol.StatusOutOfMemory, http.StatusInsufficientStorage}, // the store is full, and stays so until something is deleted
	{protocol.StatusUnauthenticated, http.StatusUnauthorized},
	{protocol.StatusForbidden, http.StatusForbidden},
	{protocol.StatusUnavailable, http.StatusServiceUnavailable},
	{protocol.StatusStale, http.StatusServiceUnavailable},
	{protocol.StatusMoved, http.StatusMisdirectedRequest},
	{protocol.StatusInternal, http.StatusInternalServerError},
}

// httpStatus returns the HTTP status of an error with this status.
func httpStatus(s protocol.Status) int {
	for _, row := range statuses {
		if row.protocol == s {
			return row.http
		}
	}
	return http.StatusInternalServerError
}

// statusOf returns the status that an answer with this HTTP status counts as in STATS.
func statusOf(httpStatus int) protocol.Status {
	if httpStatus < 400 {
		return protocol.StatusOK
	}
	for _, row := range statuses {
		if row.http == httpStatus {
			return row.protocol
		}
	}
	return protocol.StatusBadRequest
}
