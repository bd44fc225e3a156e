//go:build unix

package zen

import (
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
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

// A shortage is a log of a shortage of descriptors, which its third line ends.
type shortage struct {
	strings.Builder
	end func()
}

func (s *shortage) Write(line []byte) (int, error) {
	if s.Builder.Write(line); strings.Count(s.String(), "\n") == 3 {
		s.end()
	}
	return len(line), nil
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
	lines := &shortage{end: func() { syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) }}
	defer lines.end()
	captureLog(func() {
		log.SetOutput(lines)
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none)
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	})
	failed := "Accept error: " + syscall.EMFILE.Error() + "; retrying in "
	if want := failed + "5ms\n" + failed + "10ms\n" + failed + "20ms\n"; lines.String() != want {
		t.Errorf("log:\n%swant\n%s", lines, want)
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
	}
}

// When Accept fails, inetd's listening socket blocks if it did when inetd passed it.
// Accept ends in time even if another program that has the socket makes it blocking.
func TestListenerOfInetd(t *testing.T) {
	for _, blocks := range []bool{true, false} {
		file, err := listen(t).File()
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
		if output, err := command.CombinedOutput(); string(output) != "true" {
			t.Errorf("Accept should end in time: %s, %v", output, err)
		}
		if left := errors.Is(socket().SetDeadline(time.Time{}), os.ErrNoDeadline); left != blocks {
			t.Errorf("the socket was passed blocking: %v, and is left blocking: %v", blocks, left)
		}
	}
}
