//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package zentest

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

// endWithParent gives command a process group of its own.
func endWithParent(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// endWithoutParent lets this program end if the test that has started it has ended.
func endWithoutParent() {
	go func() {
		for parent := os.Getppid(); os.Getppid() == parent; {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(1)
	}()
}
