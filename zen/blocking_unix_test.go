//go:build unix

package zen

import (
	"errors"
	"log"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Out of descriptors, Accept logs that, waits longer each time, and returns the
// client when there is a descriptor again.
func TestAcceptRetries(t *testing.T) {
	listener := listen(t)
	for range 10 { // more than there are tries: macOS drops a client that cannot be accepted
		dial(t, listener)
	}
	lines := make(lineWriter, 100)
	log.SetOutput(lines)
	defer log.SetOutput(os.Stderr)
	restore := withoutDescriptors(t)
	defer restore()
	accepted := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			conn.Close()
		}
		accepted <- err
	}()
	var last line
	for wait, before := 5*time.Millisecond, time.Duration(0); before < time.Second; before, wait = wait, min(2*wait, time.Second) {
		var next line
		within(t, func() { next = <-lines })
		if want := "Accept error: " + syscall.EMFILE.Error() + "; retrying in " + wait.String() + "\n"; !strings.HasSuffix(next.text, want) {
			t.Fatalf("log: %q, want %q", next.text, want)
		}
		if gap := next.at.Sub(last.at); gap < before {
			t.Errorf("retried after %v, want %v", gap, before)
		}
		last = next
	}
	restore()
	within(t, func() {
		if err := <-accepted; err != nil {
			t.Error(err)
		}
	})
}

func dial(t *testing.T, listener net.Listener) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", listener.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
}

type line struct {
	text string
	at   time.Time
}

type lineWriter chan line

func (w lineWriter) Write(text []byte) (int, error) {
	w <- line{string(text), time.Now()}
	return len(text), nil
}

// withoutDescriptors lets the system refuse every new descriptor, until restore.
func withoutDescriptors(t *testing.T) (restore func()) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 1
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	return func() { syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before) }
}

// When Accept fails, inetd's listening socket blocks if it did when inetd passed it.
// Accept ends in time even if another program that has the socket makes it blocking.
func TestListenerOfInetd(t *testing.T) {
	stdin, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(stdin)
	defer redirectInput(t, stdin)
	for _, blocks := range []bool{true, false} {
		file, err := listen(t).File()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		fd := int(file.Fd())
		syscall.SetNonblock(fd, !blocks)
		redirectInput(t, fd)
		listener := StdinListener()
		syscall.SetNonblock(0, false)
		listener.Timeout = time.Millisecond
		within(t, func() {
			if _, err := listener.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Accept: %v", err)
			}
		})
		if inputBlocks(t) != blocks {
			t.Errorf("the socket was passed blocking: %v, and is left blocking: %v", blocks, !blocks)
		}
		listener.Close() // not deferred: while an Accept does not end, Close waits for it
	}
}

// redirectInput makes standard input a copy of fd.
func redirectInput(t *testing.T, fd int) {
	os.Stdin.Close() // a new descriptor is the lowest that is free
	if got, err := syscall.Dup(fd); got != 0 || err != nil {
		t.Fatalf("the copy has number %d, %v, want 0", got, err)
	}
	os.Stdin = os.NewFile(0, "/dev/stdin")
}

// inputBlocks reports whether standard input blocks: only another file can have a deadline.
func inputBlocks(t *testing.T) bool {
	fd, err := syscall.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "standard input")
	defer file.Close()
	return errors.Is(file.SetDeadline(time.Time{}), os.ErrNoDeadline)
}
