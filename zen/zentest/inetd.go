//go:build unix

package zentest

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// CheckStandardInput runs the program with each kind of socket as its standard
// input. Want has the line that the program must print or log before it exits; an
// empty line means that it must serve its client. If there is such a line, the
// exit status must be 1, or 0 for a connection that the client has reset.
func CheckStandardInput(t *testing.T, want map[string]string) {
	for kind, line := range want {
		t.Run(kind, func(t *testing.T) {
			stdin := socket(t, kind)
			stdout, stderr, logged, status := Run(t, stdin)
			switch {
			case line == "":
				if status != 0 || stdout+stderr != "" {
					t.Errorf("status %d, %q, log:\n%s", status, stdout+stderr, logged)
				}
			case stdout+stderr+logged != line || (kind == "none") != (stderr == line):
				t.Errorf("printed %q, %q, log %q; want %q", stdout, stderr, logged, line)
			case status != 1 && (kind != "TCP reset" || status != 0):
				t.Errorf("status %d", status)
			}
		})
	}
}

// socket returns a socket of the kind, or nil for "none".
func socket(t *testing.T, kind string) *os.File {
	file := func(conn any, err error) *os.File {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.(io.Closer).Close() })
		file, err := conn.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	path := fmt.Sprintf("%s/zen%d.sock", os.TempDir(), os.Getpid()) // t.TempDir may be too long for it
	switch kind {
	case "none":
		return nil
	case "TCP listener":
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		return file(listener, err)
	case "UDP":
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		return file(conn, err)
	case "UNIX listener":
		listener, err := net.Listen("unix", path)
		return file(listener, err)
	case "UNIX":
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		conn, err := net.Dial("unix", path)
		return file(conn, err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	conn, err := listener.Accept()
	server := file(conn, err)
	if kind == "TCP reset" {
		reset(client.(*net.TCPConn))
		conn.SetReadDeadline(time.Now().Add(patience))
		conn.(io.Reader).Read(make([]byte, 1)) // waits until it has arrived
		return server
	}
	io.WriteString(client, question)
	client.(*net.TCPConn).CloseWrite()
	return server
}

// CheckIdle checks that a server under inetd exits after so many seconds without
// a client, and not in the middle of a conversation, and that the next client
// starts it again.
func CheckIdle(t *testing.T, server Server, seconds int) {
	idle := time.Duration(seconds) * time.Second
	s := start(t, server, options{})
	conn := s.connect(t)
	ask(t, conn)
	conn.SetReadDeadline(time.Now().Add(idle + time.Second))
	if n, err := conn.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Fatalf("in the middle of a conversation: read %d bytes, %v", n, err)
	}
	ask(t, conn)
	end := time.Now()
	conn.Close()
	s.log.await(t, fmt.Sprintf(`^Waited %d seconds with no further connections; shutting down$`, seconds))
	if waited := time.Since(end); waited < idle {
		t.Errorf("it has waited %v", waited)
	}
	s.serveOne(t)
}

// CheckLeaving checks that no client is lost that connects while a server under
// inetd leaves. The server waits for a millisecond only.
func CheckLeaving(t *testing.T, server Server) {
	s := start(t, server, options{environment: []string{impatientVariable + "=1ms"}})
	for i := range 30 {
		s.serveOne(t)
		s.log.awaitTimes(t, i+1, `^timeout$`) // it has still to exit
	}
	for range 200 { // some come while it waits, some while it leaves
		s.serveOne(t)
		time.Sleep(900 * time.Microsecond)
	}
}

// impatient is a server that mirrors in_zen2, but exits after timeout.
func impatient(timeout time.Duration) {
	zen.RedirectOutput()
	listener := zen.StdinListener()
	listener.Timeout = timeout
	err := zen.AcceptConnectionsForever(listener)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		log.Fatal(err)
	}
	log.Print("timeout")
}
