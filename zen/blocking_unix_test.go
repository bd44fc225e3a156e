//go:build unix

package zen

import (
	"log"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Out of descriptors, Accept logs that, waits longer each time, and returns the
// client when there is a descriptor again.
func TestAcceptRetries(t *testing.T) {
	listener := listen(t)
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := &lineWriter{lines: make(chan string, 100)}
	log.SetOutput(lines)
	defer log.SetOutput(os.Stderr)
	restore := withoutDescriptors(t)
	accepted := make(chan error)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			conn.Close()
		}
		accepted <- err
	}()
	for _, wait := range []string{"5ms", "10ms", "20ms"} {
		if line, want := <-lines.lines, "Accept error: too many open files; retrying in "+wait+"\n"; !strings.HasSuffix(line, want) {
			t.Errorf("log: %q, want %q", line, want)
		}
	}
	restore()
	again, err := net.Dial("tcp", listener.Addr().String()) // macOS has dropped the first
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

type lineWriter struct{ lines chan string }

func (w *lineWriter) Write(line []byte) (int, error) {
	w.lines <- string(line)
	return len(line), nil
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
