//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package poll

import (
	"fmt"
	"runtime"
	"syscall"
	"time"

	"fopnp/chapter07/zen/listening"
)

// A program that imports this package cannot run here. It says so before it
// listens.
func init() {
	listening.Missing = fmt.Errorf("%s has neither epoll nor kqueue; run srv_legacy, which needs neither", runtime.GOOS)
}

func open() (int, error) { return 0, listening.Missing }

// What follows makes the package compile. Without open there is no Poller.

type events [1]struct{}

const addSocket, modifySocket = 0, 0

func accept(Socket) (Socket, syscall.Sockaddr, error) { return 0, nil, syscall.EINVAL }
func (p *Poller) control(int, Socket, Event) error    { return syscall.EINVAL }
func (p *Poller) poll(time.Duration) error            { return syscall.EINVAL }
