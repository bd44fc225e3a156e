//go:build unix

package zentest

import (
	"os"
	"syscall"
)

var (
	nothing   os.Signal = syscall.Signal(0)
	terminate os.Signal = syscall.SIGTERM
	harmless            = []os.Signal{syscall.SIGURG, syscall.SIGWINCH}
)

// permitAll lets the program create files with the permissions that it asks for.
func permitAll() { syscall.Umask(0) }

func makePipe(path string) error { return syscall.Mkfifo(path, 0o666) }

// destroyListeners makes every listening socket of this process one that does not
// listen.
func destroyListeners() {
	for fd := range 100 {
		if n, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN); err == nil && n != 0 {
			syscall.Shutdown(fd, syscall.SHUT_RDWR)
		}
	}
}
