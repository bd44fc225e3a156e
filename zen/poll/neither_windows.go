package poll

import (
	"errors"
	"syscall"
	"time"
)

type descriptor = syscall.Handle

// open returns an error: the programs that need this package print it and exit.
func open() (int, error) {
	return 0, errors.New("Windows has neither epoll nor kqueue; run srv_legacy, which needs neither")
}

// What follows makes the package compile. Without open there is no Poller.

type events struct{}

const addSocket, modifySocket = 0, 0

func accept(Socket) (Socket, syscall.Sockaddr, error) { return 0, nil, syscall.EINVAL }
func (p *Poller) control(int, Socket, Event) error    { return syscall.EINVAL }
func (p *Poller) poll(time.Duration) error            { return syscall.EINVAL }
