//go:build unix

package zen_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/zentest"
)

func listen(t *testing.T) zen.Listener {
	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)
	listener := zen.Listen("127.0.0.1:0")
	t.Cleanup(func() { listener.Close() })
	return listener
}

// Out of descriptors, Accept logs that, and returns a client when there is a descriptor
// again. A closed listener is not a shortage.
func TestAccept(t *testing.T) {
	listener := listen(t)
	for range 3 { // macOS drops a client that cannot be accepted
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	reader, writer := io.Pipe()
	log.SetOutput(writer)
	defer log.SetOutput(os.Stderr)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1, Max: limit.Max})
	go func() {
		line, _ := bufio.NewReader(reader).ReadString('\n')
		if want := "Accept error: " + syscall.EMFILE.Error() + "; retrying in 5ms\n"; !strings.HasSuffix(line, want) {
			t.Errorf("log: %s, want %s", line, want)
		}
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		reader.Close() // until then Accept cannot log a second line
	}()
	if _, err := listener.Accept(); err != nil {
		t.Error(err)
	}
	listener.Close()
	if err := zen.AcceptConnectionsForever(listener); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the error is %v, want %v", err, net.ErrClosed)
	}
}

func init() {
	// A program that inetd starts, beside another that makes the socket blocking.
	programs["wait"] = func() {
		listener := zen.StdinListener()
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
		command := zentest.Program("wait")
		command.Stdin = socket()
		if got := zentest.Run(t, command); got != (zentest.Result{Stdout: "true true"}) {
			t.Errorf("Accept should end in time: %+v", got)
		}
		if left := errors.Is(socket().SetDeadline(time.Time{}), os.ErrNoDeadline); left != blocks {
			t.Errorf("the socket was passed blocking: %v, and is left blocking: %v", blocks, left)
		}
		if _, err := listener.Accept(); err != nil {
			t.Error(err)
		}
	}
}
