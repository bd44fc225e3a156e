//go:build unix

package superserver

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"
)

const patience = 60 * time.Second

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.(*net.TCPListener)
}

func connect(t *testing.T, listener net.Listener) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", listener.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// result waits for the error of a superserver.
func result(t *testing.T, ended chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		t.Fatal("the superserver does not return")
		return nil
	}
}

var errStart = errors.New("no")

// The error of a Starter ends both. The client that was accepted is disconnected.
func TestStarterError(t *testing.T) {
	fail := func(Socket) (<-chan struct{}, error) { return nil, errStart }
	ended := make(chan error)

	listener := listen(t)
	go func() { ended <- Nowait(listener, fail) }()
	client := connect(t, listener)
	if err := result(t, ended); err != errStart {
		t.Errorf("Nowait returned %v, want %v", err, errStart)
	}
	if n, err := client.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
		t.Errorf("read %d bytes, %v; want the end", n, err)
	}

	listener = listen(t)
	go func() { ended <- Wait(listener, fail) }()
	connect(t, listener)
	if err := result(t, ended); err != errStart {
		t.Errorf("Wait returned %v, want %v", err, errStart)
	}
}

// Nowait returns when its listener is closed.
func TestListenerClosed(t *testing.T) {
	listener := listen(t)
	ended := make(chan error)
	go func() { ended <- Nowait(listener, nil) }()
	listener.Close()
	if err := result(t, ended); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Nowait returned %v, want %v", err, net.ErrClosed)
	}
}

// Under wait nothing starts before there is a client, nor while the program runs,
// and the same client starts it again if it has not been accepted.
func TestWait(t *testing.T) {
	listener := listen(t)
	started, programEnd := make(chan bool), make(chan struct{})
	start := func(Socket) (<-chan struct{}, error) {
		started <- true
		return programEnd, nil
	}
	go Wait(listener, start)
	mustNotStart := func() {
		t.Helper()
		select {
		case <-started:
			t.Fatal("the program has started too early")
		case <-time.After(100 * time.Millisecond):
		}
	}
	mustStart := func() {
		t.Helper()
		select {
		case <-started:
		case <-time.After(patience):
			t.Fatal("the program does not start")
		}
	}
	mustNotStart()
	connect(t, listener)
	mustStart()
	connect(t, listener)
	mustNotStart()
	programEnd <- struct{}{}
	mustStart()
}

// Start returns the error if there is no such program.
func TestNoProgram(t *testing.T) {
	if err := Start(exec.Command("/no/such/program"), listen(t)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want %v", err, os.ErrNotExist)
	}
}
