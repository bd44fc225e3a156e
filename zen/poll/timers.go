package poll

import (
	"log"
	"slices"
	"syscall"
	"time"
)

// A timer says when to close a lingering socket, or when to watch the listening
// socket again.
type timer struct {
	due    time.Time
	socket Socket
}

// setTimer adds a timer for s, behind those that are due earlier, and returns when
// it is due.
func (p *Poller) setTimer(s Socket, wait time.Duration) (due time.Time) {
	due = time.Now().Add(wait)
	i, _ := slices.BinarySearchFunc(p.timers, due, func(t timer, due time.Time) int { return t.due.Compare(due) })
	p.timers = slices.Insert(p.timers, i, timer{due, s})
	return due
}

// runTimers does what is due, and returns how long to wait for the next timer. A
// negative duration is forever.
func (p *Poller) runTimers() time.Duration {
	for len(p.timers) > 0 {
		next := p.timers[0]
		if wait := time.Until(next.due); wait > 0 {
			return wait
		}
		p.timers = p.timers[1:]
		switch {
		case next.socket == p.Listener:
			p.Modify(p.Listener, Readable)
		case p.lingering[next.socket] == next.due: // if not, its client has left
			p.close(next.socket)
		}
	}
	return -1
}

// backOff stops watching the listening socket for a while. Without that the loop
// would spin: the client that cannot be accepted keeps the socket Readable.
func (p *Poller) backOff(err error) {
	p.backoff = min(max(5*time.Millisecond, 2*p.backoff), time.Second)
	log.Printf("Accept error: %v; retrying in %v", err, p.backoff)
	p.Modify(p.Listener, 0)
	p.setTimer(p.Listener, p.backoff)
}

// After HangUp, what a client sends is discarded for lingerTime.
const lingerTime = time.Second

// linger sends the end of the stream on s, and starts to discard what arrives.
func (p *Poller) linger(s Socket) {
	syscall.Shutdown(descriptor(s), syscall.SHUT_WR)
	p.Modify(s, Readable)
	p.lingering[s] = p.setTimer(s, lingerTime)
}

// discard reads what has arrived on s, and drops it. It reports whether nothing
// more can arrive: the client has closed its side, or the connection is broken.
func (s Socket) discard() (ended bool) {
	var unwanted [4096]byte
	_, err := s.Recv(unwanted[:])
	return err != nil
}

// endLinger closes s if its client has closed too. Its timer stays, and does
// nothing: to find it would take longer, the more sockets linger.
func (p *Poller) endLinger(s Socket) {
	if ended := s.discard(); ended {
		p.close(s)
	}
}
