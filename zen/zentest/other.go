//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package zentest

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

// What systems with epoll or kqueue have, and this system has not.

var harmless []os.Signal
var quit os.Signal

func ownGroup(*exec.Cmd)                       {}
func deliver(process *os.Process, _ os.Signal) { process.Kill() }
func descriptorLimit() uint64                  { return 1 << 20 }
func permitAll()                               {}
func makePipe(string) error                    { return errors.New("no named pipes") }
func destroyListeners()                        {}
func netlinkSocket(testing.TB) *os.File        { return nil }
func (s *service) startInetd(t testing.TB)     { t.Skip("SKIPPED: there is no inetd") }
