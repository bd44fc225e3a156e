//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package poll

import (
	"os"
	"syscall"
	"time"
)

type events [128]syscall.Kevent_t

// accept returns the next client of listener, non-blocking. It makes three calls,
// because some of these systems have no accept4.
func accept(listener Socket) (Socket, syscall.Sockaddr, error) {
	syscall.ForkLock.RLock() // so that no child process inherits the client in between
	defer syscall.ForkLock.RUnlock()
	client, from, err := syscall.Accept(int(listener))
	if err != nil {
		return 0, nil, err
	}
	syscall.CloseOnExec(client)
	if err := syscall.SetNonblock(client, true); err != nil {
		syscall.Close(client)
		return 0, nil, syscall.ECONNABORTED // whatever err is, it is not about listener
	}
	return Socket(client), from, nil
}

// open returns the descriptor of a new kqueue.
func open() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	queue, err := syscall.Kqueue()
	if err == nil {
		syscall.CloseOnExec(queue)
	}
	return queue, os.NewSyscallError("kqueue", err)
}

// The operations of control.
const (
	addSocket    = syscall.EV_ADD
	modifySocket = 0
)

// control sets what s is watched for. Closing s ends the watch. A kqueue has an
// entry for each of the two events of a socket; control enables or disables them.
func (p *Poller) control(operation int, s Socket, event Event) error {
	flags := func(wanted Event) int {
		if event&wanted != 0 {
			return operation | syscall.EV_ENABLE
		}
		return operation | syscall.EV_DISABLE
	}
	var changes [2]syscall.Kevent_t
	syscall.SetKevent(&changes[0], int(s), syscall.EVFILT_READ, flags(Readable))
	syscall.SetKevent(&changes[1], int(s), syscall.EVFILT_WRITE, flags(Writable))
	_, err := syscall.Kevent(p.queue, changes[:], nil, nil)
	return err
}

// poll appends to p.turn what has happened, or nothing after timeout. A socket
// that is ready for both events is there twice.
func (p *Poller) poll(timeout time.Duration) error {
	var limit *syscall.Timespec
	if timeout >= 0 {
		t := syscall.NsecToTimespec(timeout.Nanoseconds())
		limit = &t
	}
	n, err := syscall.Kevent(p.queue, nil, p.events[:], limit)
	for _, e := range p.events[:max(n, 0)] {
		event := Readable
		if e.Filter == syscall.EVFILT_WRITE {
			event = Writable
		}
		p.turn = append(p.turn, readiness{Socket(e.Ident), event})
	}
	return err
}
