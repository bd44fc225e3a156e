package poll

import (
	"os"
	"syscall"
	"time"
)

// A file for another system supplies what this one does: events, accept, open,
// control with its two operations, and poll.

// events is room for the events of one turn.
type events [128]syscall.EpollEvent

// accept returns the next client of listener, non-blocking.
func accept(listener Socket) (Socket, syscall.Sockaddr, error) {
	client, from, err := syscall.Accept4(int(listener), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	return Socket(client), from, err
}

// open returns the descriptor of a new epoll.
func open() (int, error) {
	queue, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	return queue, os.NewSyscallError("epoll_create1", err)
}

// The operations of control.
const (
	addSocket    = syscall.EPOLL_CTL_ADD
	modifySocket = syscall.EPOLL_CTL_MOD
)

// control sets what s is watched for. Closing s ends the watch.
func (p *Poller) control(operation int, s Socket, event Event) error {
	e := syscall.EpollEvent{Fd: int32(s)}
	if event&Readable != 0 {
		e.Events |= syscall.EPOLLIN
	}
	if event&Writable != 0 {
		e.Events |= syscall.EPOLLOUT
	}
	if e.Events == 0 {
		// Epoll reports a broken connection even if nobody asks. Edge-triggered,
		// it does so once and not in every turn.
		e.Events = edgeTriggered
	}
	return syscall.EpollCtl(p.queue, operation, int(s), &e)
}

const edgeTriggered = 1 << 31 // syscall.EPOLLET is negative on some processors

// poll appends to p.turn what has happened, or nothing after timeout.
func (p *Poller) poll(timeout time.Duration) error {
	milliseconds := -1
	if timeout >= 0 {
		milliseconds = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := syscall.EpollWait(p.queue, p.events[:], milliseconds)
	for _, e := range p.events[:max(n, 0)] {
		var event Event
		if e.Events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
			event |= Readable
		}
		if e.Events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
			event |= Writable
		}
		p.turn = append(p.turn, readiness{Socket(e.Fd), event})
	}
	return err
}
