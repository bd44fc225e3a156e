package poll

import (
	"syscall"
	"time"
)

func create() (int, error) { return syscall.EpollCreate1(syscall.EPOLL_CLOEXEC) }

func accept(listener int) (int, syscall.Sockaddr, error) {
	return syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
}

func (p *Poller) add(s Socket, event Event) error {
	return p.control(syscall.EPOLL_CTL_ADD, s, event)
}

func (p *Poller) modify(s Socket, event Event) error {
	return p.control(syscall.EPOLL_CTL_MOD, s, event)
}

func (p *Poller) remove(s Socket) error {
	return p.control(syscall.EPOLL_CTL_DEL, s, 0)
}

// control changes what epoll watches s for. A broken connection needs no flag of
// its own: Linux says that one can be read from and written to.
func (p *Poller) control(operation int, s Socket, event Event) error {
	e := syscall.EpollEvent{Fd: int32(s)}
	if event&Readable != 0 {
		e.Events |= syscall.EPOLLIN
	}
	if event&Writable != 0 {
		e.Events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(p.fd, operation, int(s), &e)
}

// wait fills p.ready, after timeout at the latest, or never if that is negative.
func (p *Poller) wait(timeout time.Duration) error {
	milliseconds := -1
	if timeout >= 0 {
		milliseconds = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	var events [128]syscall.EpollEvent
	n, err := syscall.EpollWait(p.fd, events[:], milliseconds)
	for i := range max(n, 0) {
		e := &events[i]
		var event Event
		if e.Events&syscall.EPOLLIN != 0 {
			event |= Readable
		}
		if e.Events&syscall.EPOLLOUT != 0 {
			event |= Writable
		}
		p.ready = append(p.ready, readiness{Socket(e.Fd), event})
	}
	return err
}
