package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	// toldEvery is how often the manager is told how far the loading is.
	toldEvery = time.Second
	// moreTime is what a start that gets on, and an end beyond what --drain allows, ask of the manager's patience.
	moreTime = 30 * time.Second
)

// manager is the service manager that has started kvd and wants to know its state: systemd, for a unit of Type=notify.
// Telling it never waits. Where there is no manager, telling does nothing. See sd_notify(3).
type manager struct {
	told *lineQueue // fixed; nil: there is no manager

	mu    sync.Mutex // guards ready, and that messages are in the order of what they tell
	ready bool
}

func findManager(log *slog.Logger) *manager {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return new(manager)
	}
	return &manager{told: newLineQueue(&notifySocket{log: log})}
}

// notifySocket sends each Write to the manager as a message.
type notifySocket struct {
	log    *slog.Logger
	failed sync.Once
}

func (s *notifySocket) Write(message []byte) (int, error) {
	if _, err := daemon.SdNotify(false, string(message)); err != nil {
		s.failed.Do(func() { s.log.Warn("the service manager can't be told how kvd is", "error", err) })
		return 0, err
	}
	return len(message), nil
}

// tell sends assignments such as READY=1, each with a newline behind it.
func (m *manager) tell(format string, values ...any) {
	if m.told != nil {
		fmt.Fprintf(m.told, format, values...)
	}
}

// loads tells how far the loading is until stop is called. As long as it gets on, and once all is read, more time is asked for.
func (m *manager) loads(progress func() (done, total int64)) (stop func()) {
	if m.told == nil {
		return func() {}
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(toldEvery)
		defer tick.Stop()
		for before := int64(-1); ; {
			done, total := progress()
			m.tell("STATUS=loading %d of %d bytes\n", done, total)
			if done != before || done == total {
				m.moreTime(moreTime)
			}
			before = done
			select {
			case <-end:
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

func (m *manager) moreTime(d time.Duration) { m.tell("EXTEND_TIMEOUT_USEC=%d\n", d.Microseconds()) }

// serves tells that requests are answered from now on.
func (m *manager) serves(status string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = true
	m.tellReady(status)
}

// reloads tells that load begins, and that it has ended and how. While the server does not serve yet, or no more, it would tell
// something else with that, and tells nothing.
func (m *manager) reloads(load func() (status string)) {
	m.whenReady(func() { m.tell("RELOADING=1\n%s", daemon.SdNotifyMonotonicUsec()) })
	status := load() // as long as it takes
	m.whenReady(func() { m.tellReady(status) })
}

func (m *manager) whenReady(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ready {
		do()
	}
}

func (m *manager) tellReady(status string) {
	m.tell("READY=1\nSTATUS=%s\n", strings.ReplaceAll(status, "\n", "; "))
}

// stops tells that the end has begun, which takes at most so long unless the manager is to give up, and returns once it
// is told or does not listen.
func (m *manager) stops(atMost time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = false
	m.tell("STOPPING=1\nSTATUS=shutting down\n")
	m.moreTime(atMost + moreTime)
	if m.told != nil {
		m.told.flush(lastLines)
	}
}
