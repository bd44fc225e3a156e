//go:build unix

package zen

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

func listen(t *testing.T) (listener Listener) {
	captureLog(func() { listener = Listen("127.0.0.1:0") })
	t.Cleanup(func() { listener.Close() })
	return listener
}

// A closed listener is not a shortage.
func TestAcceptAfterClose(t *testing.T) {
	listener := listen(t)
	listener.Close()
	if err := AcceptConnectionsForever(listener); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the error is %v, want %v", err, net.ErrClosed)
	}
}

// Out of descriptors, Accept logs that, waits longer each time, and returns the
// client when there is a descriptor again.
func TestAcceptRetries(t *testing.T) {
	listener := listen(t)
	for range 4 { // as many as there are tries: macOS drops a client that cannot be accepted
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	none := limit
	none.Cur = 1
	reader, writer := io.Pipe()
	log.SetOutput(writer)
	defer log.SetOutput(os.Stderr)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none)
	accepted := make(chan error, 1)
	go func() {
		_, err := listener.Accept()
		writer.Close()
		accepted <- err
	}()
	lines := bufio.NewScanner(reader)
	for _, wait := range []string{"5ms", "10ms", "20ms"} {
		lines.Scan()
		if want := "Accept error: " + syscall.EMFILE.Error() + "; retrying in " + wait; lines.Text() != want {
			t.Errorf("log: %s, want %s", lines.Text(), want)
		}
	}
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	reader.Close() // there may be more lines
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

func init() {
	// A program that inetd starts, beside another that makes the socket blocking.
	programs["wait"] = func() {
		listener := StdinListener()
		syscall.SetNonblock(0, false)
		listener.Timeout = time.Millisecond
		_, err := listener.Accept()
		fmt.Print(errors.Is(err, os.ErrDeadlineExceeded))
		net.Dial("tcp", listener.Addr().String())
		listener.Timeout = time.Nanosecond // is over before Accept looks for the client
		_, err = listener.Accept()
		fmt.Print(" ", errors.Is(err, os.ErrDeadlineExceeded))
	}
}

// When Accept fails, inetd's listening socket blocks if it did when inetd passed it.
// Accept ends in time even if another program that has the socket makes it blocking.
// A client that comes as Accept ends is left to the next program.
func TestListenerOfInetd(t *testing.T) {
	for _, blocks := range []bool{true, false} {
		listener := listen(t)
		file, err := listener.File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		fd := int(file.Fd())
		socket := func() *os.File { // finds out whether the socket blocks
			fd, _ := syscall.Dup(fd)
			return os.NewFile(uintptr(fd), "socket")
		}
		syscall.SetNonblock(fd, !blocks)
		command := again("wait")
		command.Stdin = socket()
		if output, err := command.CombinedOutput(); string(output) != "true true" {
			t.Errorf("Accept should end in time: %s, %v", output, err)
		}
		if left := errors.Is(socket().SetDeadline(time.Time{}), os.ErrNoDeadline); left != blocks {
			t.Errorf("the socket was passed blocking: %v, and is left blocking: %v", blocks, left)
		}
		if _, err := listener.Accept(); err != nil {
			t.Error(err)
		}
	}
}
