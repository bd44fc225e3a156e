//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package zentest

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
)

// quit makes a Go program print its stacks.
var quit os.Signal = syscall.SIGQUIT

// harmless are signals that do not concern a server.
var harmless = []os.Signal{syscall.SIGURG, syscall.SIGWINCH}

// ownGroup lets command have a process group of its own.
func ownGroup(command *exec.Cmd) { command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// deliver sends a signal to a process and to all that it has started.
func deliver(process *os.Process, signal os.Signal) {
	if syscall.Kill(-process.Pid, signal.(syscall.Signal)) != nil {
		process.Signal(signal) // it has no group of its own
	}
}

// descriptorLimit returns how many descriptors this process can have.
func descriptorLimit() uint64 {
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return uint64(limit.Cur)
}

// permitAll lets the program create files with the permissions that it asks for.
func permitAll() { syscall.Umask(0) }

// netlinkSocket returns a socket of a family that package net does not know.
func netlinkSocket(t testing.TB) *os.File {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux has netlink sockets")
	}
	const netlink = 16
	fd, err := syscall.Socket(netlink, syscall.SOCK_RAW, 0)
	if err != nil {
		t.Skipf("SKIPPED: no netlink socket: %v", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	t.Cleanup(func() { file.Close() })
	return file
}

func makePipe(path string) error { return syscall.Mkfifo(path, 0o666) }

// destroyListeners makes every listening socket of this process one that does not
// listen.
func destroyListeners() {
	for fd := range 100 {
		if isListening(uintptr(fd)) {
			syscall.Shutdown(fd, syscall.SHUT_RDWR)
		}
	}
}

// isListening reports whether fd is a socket that listens.
func isListening(fd uintptr) bool {
	n, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	return err == nil && n != 0
}
