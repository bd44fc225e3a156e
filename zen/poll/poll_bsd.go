//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package poll

import (
	"syscall"
	"time"
)

func create() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := syscall.Kqueue()
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	return fd, err
}

// accept does in three calls what not every one of these systems does in one.
func accept(listener int) (int, syscall.Sockaddr, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, from, err := syscall.Accept(listener)
	if err != nil {
		return fd, from, err
	}
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return -1, nil, err
	}
	return fd, from, nil
}

// A kqueue watches each socket twice, for reading and for writing. Both are
// there from the beginning, so that only add can find it without room.

func (p *Poller) add(s Socket, event Event) error {
	return p.control(syscall.EV_ADD, s, event)
}

func (p *Poller) modify(s Socket, event Event) error {
	return p.control(0, s, event)
}

func (p *Poller) remove(s Socket) error {
	return p.control(syscall.EV_DELETE, s, 0)
}

func (p *Poller) control(flags int, s Socket, event Event) error {
	able := func(want Event) int {
		if event&want != 0 {
			return flags | syscall.EV_ENABLE
		}
		return flags | syscall.EV_DISABLE
	}
	var changes [2]syscall.Kevent_t
	syscall.SetKevent(&changes[0], int(s), syscall.EVFILT_READ, able(Readable))
	syscall.SetKevent(&changes[1], int(s), syscall.EVFILT_WRITE, able(Writable))
	_, err := syscall.Kevent(p.fd, changes[:], nil, nil)
	return err
}

// wait fills p.ready, after timeout at the latest, or never if that is negative.
func (p *Poller) wait(timeout time.Duration) error {
	var limit *syscall.Timespec
	if timeout >= 0 {
		t := syscall.NsecToTimespec(timeout.Nanoseconds())
		limit = &t
	}
	var events [128]syscall.Kevent_t
	n, err := syscall.Kevent(p.fd, nil, events[:], limit)
	for i := range max(n, 0) {
		e := &events[i]
		event := Readable
		if e.Filter == syscall.EVFILT_WRITE {
			event = Writable
		}
		p.ready = append(p.ready, readiness{Socket(e.Ident), event})
	}
	return err
}
