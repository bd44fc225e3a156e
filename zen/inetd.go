//go:build unix

package zen

import (
	"cmp"
	"errors"
	"log"
	"net"
	"os"
	"syscall"
	"time"
)

// RedirectOutput sends standard output and standard error to /tmp/zen.log, or to the
// file that the environment variable ZEN_LOG names. Inetd starts a program with a
// socket as descriptors 0, 1 and 2, so a program calls RedirectOutput before anything
// else: no log line and no panic message can then reach a client. If the file cannot
// be opened, the program runs without a log.
//
// If standard input is not a socket, a person has started the program.
// RedirectOutput tells that person so, and exits with status 1.
func RedirectOutput() {
	log.SetFlags(0)
	if stdin, err := os.Stdin.Stat(); err != nil || stdin.Mode()&os.ModeSocket == 0 {
		log.Fatal("standard input is not a socket; inetd starts this program (see inetd.conf)")
	}
	// Package syscall has no dup2 on some systems. A new descriptor is always the
	// lowest that is free, so close 1, open the log, close 2 and duplicate it.
	syscall.Close(1)
	err := openLog() // gets number 1
	if err != nil {
		_, err = syscall.Open(os.DevNull, syscall.O_WRONLY, 0)
	}
	if err != nil { // no /dev: an unconnected socket discards what is written too
		syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	}
	syscall.Close(2)
	syscall.Dup(1)
}

// openLog opens the log for appending. In /tmp any user may have put something
// else there, so openLog follows no link, does not block on a pipe, and accepts
// only a regular file with a single name.
func openLog() error {
	const flags = syscall.O_WRONLY | syscall.O_APPEND | syscall.O_CREAT | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	fd, err := syscall.Open(cmp.Or(os.Getenv("ZEN_LOG"), "/tmp/zen.log"), flags, 0o644)
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

// StdinConn returns the client's connection that inetd has passed as standard
// input ("nowait" in inetd.conf). If it is another kind of socket, StdinConn logs
// what is wrong and exits with status 1. If the client has already reset the
// connection, StdinConn logs that and exits with status 0.
func StdinConn() net.Conn {
	conn := stdinSocket()
	if stdinListens() {
		log.Fatal("standard input is a listening socket; in inetd.conf, change wait to nowait")
	}
	if conn.RemoteAddr() == nil { // a reset connection has no address
		exitClientHasLeft()
	}
	return conn
}

// exitClientHasLeft logs that the client has left, and exits with status 0.
func exitClientHasLeft() {
	log.Print("The client has left before this program started")
	os.Exit(0)
}

// StdinListener returns the listening socket that inetd has passed as standard
// input ("wait" in inetd.conf). When its Accept fails, the socket is left blocking if
// inetd has passed it so. If standard input is another kind of socket, StdinListener
// logs what is wrong and exits with status 1.
func StdinListener() Listener {
	stdinSocket().Close() // checks that it is TCP, and closes the copy
	if !stdinListens() {
		log.Fatal("standard input is a client's connection; in inetd.conf, change nowait to wait")
	}
	// Only a descriptor that did not block when the program started can have a deadline:
	// package os looked then, and stdinSocket has changed it since.
	blocks := errors.Is(os.Stdin.SetDeadline(time.Time{}), os.ErrNoDeadline)
	listener, err := net.FileListener(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	// Package net has made the socket non-blocking, for all who have it. The next
	// program that inetd starts may expect one that blocks. And another such program
	// may leave, and restore the socket, while this program still uses it: without
	// unblock, Accept could then wait without a limit.
	return Listener{
		TCPListener: listener.(*net.TCPListener),
		unblock:     func() { syscall.SetNonblock(syscall.Stdin, true) },
		restore:     func() { syscall.SetNonblock(syscall.Stdin, !blocks) },
	}
}

// stdinSocket returns a copy of the TCP socket that is standard input. The socket
// may be listening: [net.FileConn] does not check.
func stdinSocket() *net.TCPConn {
	conn, err := net.FileConn(os.Stdin)
	if errors.Is(err, syscall.EINVAL) { // what OpenBSD and NetBSD say of a reset connection
		exitClientHasLeft()
	}
	if err != nil {
		log.Fatalf("standard input: expected a TCP socket: %v", err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		log.Fatalf("standard input: expected a TCP socket, got %s", conn.LocalAddr().Network())
	}
	return tcp
}

func stdinListens() bool {
	listens, err := syscall.GetsockoptInt(syscall.Stdin, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	return err == nil && listens != 0
}
