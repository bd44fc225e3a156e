package zentest

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

var nothingButAnswers = rule{
	name:    "NothingButAnswers",
	promise: "Under inetd nothing but answers reaches a client, whatever the log file is and whatever goes wrong.",
	mend:    "call zen.RedirectOutput first: standard output and standard error are the client's socket.",
	applies: func(s Server) bool { return s.Inetd != "" },
	check: func(t testing.TB, server Server) {
		write := func(path string) error { return os.WriteFile(path, []byte("precious"), 0o666) }
		for what, plant := range map[string]func(path string) error{
			"nothing":                  func(path string) error { return nil },
			"a directory":              func(path string) error { return os.Mkdir(path, 0o755) },
			"a pipe":                   makePipe,
			"a symlink to nothing":     func(path string) error { return os.Symlink(path+".victim", path) },
			"a symlink to a file":      func(path string) error { return errors.Join(write(path+".victim"), os.Symlink(path+".victim", path)) },
			"a second name of a file":  func(path string) error { return errors.Join(write(path+".victim"), os.Link(path+".victim", path)) },
			"a file that is read-only": func(path string) error { return os.WriteFile(path, nil, 0o444) },
		} {
			s := start(t, server, options{})
			path := s.logFile
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			pipe, _ := os.OpenFile(path, os.O_RDWR, 0) // fails if it is no pipe or file
			s.exactAnswers(t)
			if what == "a pipe" {
				pipe.SetReadDeadline(time.Now().Add(s.quiet))
				if n, err := pipe.Read(make([]byte, 100)); n > 0 || !os.IsTimeout(err) {
					t.Errorf("It writes %d bytes to a pipe, %v.", n, err)
				}
			}
			pipe.Close()
			if victim, err := os.ReadFile(path + ".victim"); err == nil && string(victim) != "precious" {
				t.Errorf("With %s for a log, it writes %q to another file.", what, victim)
			}
			if what == "nothing" {
				s.awaitTimes(t, 5, "^(Accepted connection from |Client )")
				if status, err := os.Stat(path); err != nil || status.Mode().Perm() != 0o644 {
					t.Errorf("The log should be one that only its owner may write, and is %v, %v.", status.Mode(), err)
				}
			}
			s.stop(t)
		}
		// A panic goes to the log too.
		s := start(t, server, options{environment: []string{panicVariable + "=^Client .* error: received"}})
		c := s.connect(t)
		c.ask()
		running := s.running()
		c.send(question + "Beau")
		c.closeSide()
		c.expect(answer)
		c.expectHangUp()
		s.await(t, `^panic: on purpose`)
		s.expectEnd(t, running, 2)
		s.serveOne(t)
	},
}

// exactAnswers compares all that some clients read with what they should.
func (s *service) exactAnswers(t testing.TB) {
	t.Helper()
	for _, data := range []string{"", question, question + "Beau", "\x00\xff?" + question, question + strings.Repeat("x", 5000)} {
		s.exchange(t, data, whole)
	}
}

// CheckStandardInput runs the program with each kind of socket as its standard
// input, and compares how it ends. The kinds are "none", "UDP", "UNIX", "UNIX
// listener", "netlink", "TCP listener", "TCP connection" and "TCP reset", a
// connection that the client has reset.
func CheckStandardInput(t *testing.T, want map[string]Result) {
	skipOnWindows(t, "there is no inetd")
	for kind, want := range want {
		t.Run(kind, func(t *testing.T) {
			stdin := socket(t, kind)
			got := Run(t, func(command *exec.Cmd) {
				if stdin != nil {
					command.Stdin = stdin
				}
			})
			if got != want {
				t.Errorf("with %s for standard input the program should end with %+v, and ended with %+v", kind, want, got)
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
	dir := os.TempDir()
	if len(dir) > 60 { // a UNIX address has some 100 bytes
		dir = "/tmp"
	}
	path := fmt.Sprintf("%s/zen%d.sock", dir, os.Getpid())
	switch kind {
	case "none":
		return nil
	case "netlink":
		return netlinkSocket(t)
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
		client.(*net.TCPConn).SetLinger(0)
		client.Close()
		conn.SetReadDeadline(time.Now().Add(time.Minute))
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
	skipOnWindows(t, "there is no inetd")
	idle := time.Duration(seconds) * time.Second
	s := start(t, server, options{quiet: idle + time.Second})
	for tries := 1; ; tries++ {
		c := s.connect(t)
		c.ask()
		if tries == 1 {
			c.expectNothing() // in the middle of a conversation
			c.ask()
		}
		left := time.Now()
		c.Close()
		s.awaitTimes(t, tries, fmt.Sprintf(`^Waited %d seconds with no further connections; shutting down$`, seconds))
		waited := time.Since(left)
		if waited < idle || tries == 5 {
			t.Fatalf("the program should exit after %d seconds, and exited after %v", seconds, waited)
		}
		if waited < idle+time.Second { // a slow machine may need more
			break
		}
	}
	s.serveOne(t)
}

// CheckLeaving checks that no client is lost that connects while a server under
// inetd leaves. The server waits for a millisecond only.
func CheckLeaving(t *testing.T, server Server) {
	skipOnWindows(t, "there is no inetd")
	s := start(t, server, options{environment: []string{impatientVariable + "=1ms"}})
	for i := range 30 {
		s.serveOne(t)
		s.awaitTimes(t, i+1, `^timeout$`) // it has still to exit
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
