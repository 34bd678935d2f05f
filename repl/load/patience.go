package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kv/protocol"
	"kv/protocol/client"
)

// Patience is how a command of many requests goes on in a cluster that has no leader for a moment, or whose leader ends:
// each request that was certainly not applied is sent again, until a server leads.
type Patience struct {
	// Connect returns the connection in use, or a new one where that is closed.
	Connect func(context.Context) (*client.Client, error)
	For     time.Duration // how long it is asked again, for each request
}

// againPause is between two attempts where no server leads.
const againPause = 100 * time.Millisecond

// Write calls do, which sends a request that may change something, and again while that is answered as not applied
// since no server leads, or another one, or the one that led ends. Any other error is Write's.
func (p Patience) Write(ctx context.Context, do func(*client.Client) error) error {
	return p.again(ctx, nil, notApplied, do)
}

// Read is Write for a request that changes nothing: it can be sent again whatever became of it.
func (p Patience) Read(ctx context.Context, do func(*client.Client) error) error {
	return p.again(ctx, nil, notAnswered, do)
}

// again calls do until its error is not one that passes. answered is how the request was answered before, nil: it was
// not sent yet.
func (p Patience) again(ctx context.Context, answered error, passes func(error) bool, do func(*client.Client) error) error {
	for until := time.Now().Add(p.For); ; {
		c, err := p.Connect(ctx)
		switch {
		case err != nil && answered != nil:
			return answered // the error before says more: a server that ends says so
		case err != nil:
			return err
		}
		err = do(c)
		switch {
		case !passes(err):
			return err
		case time.Now().After(until):
			return fmt.Errorf("no server has led for %v: %w", p.For, err)
		}
		answered = err
		timer := time.NewTimer(againPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// notApplied reports whether a request was not applied since another server leads, or none, or since the connection to
// the one that led was closed.
func notApplied(err error) bool {
	return elsewhere(err) || errors.Is(err, client.ErrClosed) && !errors.Is(err, client.ErrUnknown)
}

// notAnswered is notApplied for a request that changes nothing.
func notAnswered(err error) bool {
	return notApplied(err) || errors.Is(err, protocol.ErrUnavailable) || errors.Is(err, protocol.ErrStale)
}

// elsewhere reports whether a request was not applied since another server leads, or none.
func elsewhere(err error) bool {
	var refused *protocol.Error
	if !errors.As(err, &refused) {
		return errors.Is(err, client.ErrNotApplied)
	}
	switch refused.Status {
	case protocol.StatusMoved:
		return true
	case protocol.StatusUnavailable:
		return refused.NotApplied()
	}
	return errors.Is(err, client.ErrNotApplied)
}

// StaleCursor reports whether a page was refused because another server gave its cursor: the pages can be asked for anew,
// from the first.
func StaleCursor(err error) bool {
	var refused *protocol.Error
	return errors.As(err, &refused) && refused.StaleCursor()
}
