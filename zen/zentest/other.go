//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package zentest

import (
	"os"
	"os/exec"
	"syscall"
)

// What Unix has, and this system has not.

var (
	harmless  []os.Signal
	unixRules []rule
)

func deliver(process *os.Process, _ os.Signal)         { process.Kill() }
func group(int) int                                    { return -1 }
func descriptorLimit() int                             { return 1 << 20 }
func endWithoutParent()                                {}
func obeySignals()                                     {}
func endWithParent(*exec.Cmd)                          {}
func beInetd(string)                                   {}
func smallWindow(_, _ string, _ syscall.RawConn) error { return nil }
