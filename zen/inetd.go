//go:build unix

package zen

import (
	"log"
	"os"
	"path/filepath"
	"syscall"
)

// logFile is where a program that inetd has started writes its log.
var logFile = "/tmp/zen.log"

// RedirectOutput sends standard output and standard error to /tmp/zen.log. It is
// the first thing to do for a program that inetd has started, with the client's
// socket as descriptors 0, 1 and 2: from here on nothing but answers can reach
// the client, no log line and no panic. Where the file is not to be had the
// service goes on without a log.
//
// Started by hand, with no socket for standard input, the program has nobody to
// serve; RedirectOutput then says what to do and exits with status 1.
func RedirectOutput() {
	if stdin, err := os.Stdin.Stat(); err != nil || stdin.Mode()&os.ModeSocket == 0 {
		log.Fatalf("%s: standard input is no socket: let inetd start this program, as inetd.conf says", filepath.Base(os.Args[0]))
	}
	// The lowest descriptor that is free is the one to be opened, so each takes
	// the place of the one just closed. (Not every system has dup2.)
	syscall.Close(1)
	err := openLog()
	if err != nil {
		_, err = syscall.Open(os.DevNull, syscall.O_WRONLY, 0)
	}
	if err != nil { // there is no /dev: a socket that leads nowhere will do
		syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	}
	syscall.Close(2)
	syscall.Dup(1)
}

// openLog opens the log file, to append to. Anybody can put something else in
// its place in /tmp: it follows no link, waits for no pipe, and writes to
// nothing but a file that has no other name.
func openLog() error {
	const flags = syscall.O_WRONLY | syscall.O_APPEND | syscall.O_CREAT | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	fd, err := syscall.Open(logFile, flags, 0o644)
	if err != nil {
		return err
	}
	var status syscall.Stat_t
	if err := syscall.Fstat(fd, &status); err != nil || status.Mode&syscall.S_IFMT != syscall.S_IFREG || status.Nlink != 1 {
		syscall.Close(fd)
		return syscall.EINVAL
	}
	return nil
}
