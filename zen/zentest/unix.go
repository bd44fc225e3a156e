//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package zentest

import (
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// harmless are signals that do not concern a server.
var harmless = []os.Signal{syscall.SIGURG, syscall.SIGWINCH}

// attributes give each program a process group, with all that it starts.
var attributes = syscall.SysProcAttr{Setpgid: true}

func endWithParent(command *exec.Cmd) { command.SysProcAttr = &attributes }

// endWithoutParent lets this program end if the test that has started it has ended.
func endWithoutParent() {
	if runtime.GOOS == "linux" {
		return // the system does it
	}
	go func() {
		for parent := os.Getppid(); os.Getppid() == parent; {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(1)
	}()
}

// deliver sends a signal to a process and all that it has started.
func deliver(process *os.Process, signal os.Signal) {
	syscall.Kill(-process.Pid, signal.(syscall.Signal))
}

// group returns the group of a process, or -1.
func group(pid int) int {
	group, _ := syscall.Getpgid(pid)
	return group
}

// descriptorLimit returns how many descriptors this process can have.
func descriptorLimit() int {
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Cur, 1<<20))
}

// smallWindow limits what a client takes before it reads.
func smallWindow(_, _ string, conn syscall.RawConn) error {
	return conn.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400)
	})
}

// crash makes the program panic. destroy shuts down its listening sockets.
var crash, destroy os.Signal = syscall.SIGUSR1, syscall.SIGUSR2

// obeySignals makes the program obey these two signals.
func obeySignals() {
	syscall.Umask(0) // so the mode of the log is the program's own doing
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, crash, destroy)
	go func() {
		if <-signals == crash {
			panic("on purpose")
		}
		for fd := range 100 {
			if listens, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && listens != 0 {
				syscall.Shutdown(fd, syscall.SHUT_RDWR)
			}
		}
	}()
}
