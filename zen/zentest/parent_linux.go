package zentest

import (
	"os/exec"
	"syscall"
)

// endWithParent gives command a process group of its own, and lets the system kill it
// if this process ends before.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func endWithoutParent() {} // the system does it
