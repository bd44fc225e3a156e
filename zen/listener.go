package zen

import (
	"errors"
	"log"
	"net"
	"os"
	"time"

	"fopnp/chapter07/zen/listening"
)

// A Listener is a TCP listener whose Accept tries again when the system is out of
// descriptors or memory.
type Listener struct {
	*net.TCPListener
	Timeout time.Duration // how long Accept waits for a client; 0 means forever

	// For a socket of inetd, which others have too: unblock makes it non-blocking, and
	// restore leaves it as inetd has passed it. They are nil for another socket.
	unblock, restore func()
}

// Listen returns a Listener at address, for the caller to close. If that fails
// it logs the reason and exits with status 1: Listen is a helper for commands.
func Listen(address string) Listener {
	if listening.Missing != nil {
		log.Fatal(listening.Missing)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("Listening at %v", listener.Addr())
	return Listener{TCPListener: listener.(*net.TCPListener)}
}

// Accept returns the connection of the next client, for the caller to close. If
// the system is out of descriptors or memory, Accept logs that, waits 5 ms and
// tries again; it doubles the wait each time, up to a second.
//
// If no client comes for Timeout, Accept returns an error that wraps
// [os.ErrDeadlineExceeded]. It returns another error only if the listening socket
// is closed or does not listen.
func (l Listener) Accept() (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; {
		if l.Timeout > 0 {
			l.SetDeadline(time.Now().Add(l.Timeout))
		}
		if l.unblock != nil {
			l.unblock()
		}
		conn, err := l.TCPListener.Accept()
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed), listening.Broken(err):
			if l.restore != nil {
				l.restore()
			}
			return nil, err
		case listening.ClientGone(err):
			continue
		}
		var call *os.SyscallError
		if errors.As(err, &call) { // so that package poll logs the same
			err = call.Err
		}
		log.Printf("Accept error: %v; retrying in %v", err, wait)
		time.Sleep(wait)
		wait = min(2*wait, time.Second)
	}
}
