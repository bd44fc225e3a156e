//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen/poll"
)

// startInetd is a stand-in for inetd. For in_zen1 (nowait) it accepts each client
// and starts the command line with the client as descriptors 0, 1 and 2. For
// in_zen2 (wait) it waits until a client knocks, starts the command line with
// the listening socket there, and looks away until it has ended.
func (s *service) startInetd(t testing.TB, args ...string) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = tcp.Addr().String()
	listener := tcp.(*net.TCPListener)
	var running sync.WaitGroup
	stop := make(chan struct{})
	s.stopInetd = func() {
		close(stop)
		if conn, err := net.Dial("tcp", s.address); err == nil { // to wake it
			defer conn.Close()
		}
		running.Wait()
	}

	running.Add(1)
	go func() {
		defer running.Done()
		defer tcp.Close()
		next := func() (*os.File, error) {
			conn, err := listener.AcceptTCP()
			if err != nil {
				return nil, err
			}
			defer conn.Close()
			return conn.File()
		}
		if s.name == "in_zen2" {
			poller, err := poll.New(tcp)
			if err != nil {
				t.Error(err)
				return
			}
			next = func() (*os.File, error) {
				for range poller.Events() {
					break
				}
				return listener.File()
			}
		}
		for {
			file, err := next()
			select {
			case <-stop:
				return
			default:
			}
			if err != nil {
				continue
			}
			if ended := s.spawn(t, file, args); s.name == "in_zen2" {
				<-ended
			}
		}
	}()

	running.Add(1)
	go func() {
		defer running.Done()
		s.follow(stop)
	}()
}

// spawn starts the command line with socket, which it closes here, as
// descriptors 0, 1 and 2.
func (s *service) spawn(t testing.TB, file *os.File, args []string) chan struct{} {
	command := exec.Command(args[0], args[1:]...)
	defer file.Close()
	command.Stdin, command.Stdout, command.Stderr = file, file, file
	ended, err := s.begin(command)
	if err != nil {
		t.Error(err)
		ended = make(chan struct{})
		close(ended)
	}
	return ended
}

// follow copies what is appended to zen.log to s.log. A file has no event to
// wait for.
func (s *service) follow(stop chan struct{}) {
	var file *os.File
	for {
		if file == nil {
			file, _ = os.Open(filepath.Join(s.dir, "zen.log"))
		}
		if file != nil {
			if status, err := file.Stat(); err == nil && status.Mode().IsRegular() {
				if lines, err := io.ReadAll(file); len(lines) > 0 && err == nil {
					s.log.Write(lines)
				}
			}
		}
		select {
		case <-stop:
			file.Close()
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// In_zen2 leaves after 8 seconds without a client, counted from the end of the
// last conversation, however long that was; and the next client starts it again.
func TestIdleTime(t *testing.T) {
	t.Parallel()
	const idle = 8 * time.Second
	s := start(t, row("in_zen2"))
	conn := s.connect(t)
	ask(t, conn)
	conn.SetReadDeadline(time.Now().Add(idle + time.Second))
	if n, err := conn.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Fatalf("in the middle of a conversation: read %d bytes, %v", n, err)
	}
	conn.SetReadDeadline(time.Time{})
	ask(t, conn)
	end := time.Now()
	conn.Close()
	s.log.await(t, `^Waited 8 seconds with no further connections; shutting down$`)
	if waited := time.Since(end); waited < idle {
		t.Errorf("left after %v", waited)
	}
	s.serveOne(t)
}

// A client that comes at the moment in_zen2 leaves is served by the next one.
func TestClientWhileLeaving(t *testing.T) {
	dir := rebuild(t, "in_zen2/main.go", "8 * time.Second", "time.Millisecond", "Waited 8 seconds", "Waited 0.001 seconds")
	s := startProgram(t, row("in_zen2"), program(dir, "in_zen2"))
	for i := range 50 {
		s.serveOne(t)
		s.log.awaitTimes(t, i+1, `^Waited 0.001 seconds`) // it has still to exit
	}
	for range 200 {
		s.serveOne(t)
		time.Sleep(900 * time.Microsecond) // so that some come while it waits, some while it leaves
	}
}

// Whatever happens on the server's side, nothing but answers reaches the client,
// and the service goes on.
func TestNothingButAnswers(t *testing.T) {
	obstacles := map[string]func(t *testing.T, path string) error{
		"a directory": func(t *testing.T, path string) error { return os.Mkdir(path, 0o755) },
		"a pipe":      func(t *testing.T, path string) error { return syscall.Mkfifo(path, 0o666) },
		"a file that may not be written": func(t *testing.T, path string) error {
			return os.WriteFile(path, nil, 0o444)
		},
		"a symlink to nothing": func(t *testing.T, path string) error {
			return os.Symlink(filepath.Join(t.TempDir(), "planted"), path)
		},
	}
	for _, name := range []string{"in_zen1", "in_zen2"} {
		for what, plant := range obstacles {
			t.Run(name+" with "+what+" for a log", func(t *testing.T) {
				s := start(t, row(name))
				path := filepath.Join(s.dir, "zen.log")
				if err := plant(t, path); err != nil {
					t.Fatal(err)
				}
				s.exactAnswers(t)
				if target, err := os.Readlink(path); err == nil {
					if _, err := os.Lstat(target); err == nil {
						t.Error("it wrote through the link")
					}
				}
			})
		}
		for what, link := range map[string]func(old, new string) error{
			"a symlink to a file":    os.Symlink,
			"another name of a file": os.Link,
		} {
			t.Run(name+" with "+what+" for a log", func(t *testing.T) {
				s := start(t, row(name))
				victim := filepath.Join(s.dir, "victim")
				os.WriteFile(victim, []byte("precious"), 0o666)
				if err := link(victim, filepath.Join(s.dir, "zen.log")); err != nil {
					t.Fatal(err)
				}
				s.exactAnswers(t)
				if content, _ := os.ReadFile(victim); string(content) != "precious" {
					t.Errorf("it wrote %q to the file", content)
				}
			})
		}
		t.Run(name+" with nothing to write to", func(t *testing.T) {
			dir := rebuild(t, "zen/inetd.go", "os.DevNull", `"/no/such/file"`)
			s := startProgram(t, row(name), program(dir, name))
			if err := os.Mkdir(filepath.Join(s.dir, "zen.log"), 0o755); err != nil {
				t.Fatal(err)
			}
			s.exactAnswers(t)
		})
		t.Run(name+" with arguments", func(t *testing.T) {
			s := newService(t, row(name))
			s.startInetd(t, program(bin, name), "-h", "--no-such-flag", "localhost")
			s.exactAnswers(t)
			s.log.await(t, `^Accepted connection from `)
		})
		t.Run(name+" that panics", func(t *testing.T) {
			dir := rebuildPanicking(t)
			s := startProgram(t, row(name), program(dir, name))
			conn := s.connect(t)
			ask(t, conn)
			send(t, conn, "Panic?")
			if got, _ := io.ReadAll(conn); len(got) > 0 {
				t.Errorf("the client read %q", got)
			}
			s.log.await(t, `^panic: on purpose`)
			s.exactAnswers(t)
			s.mu.Lock()
			defer s.mu.Unlock()
			if want := name + " has ended: exit status 2"; len(s.failures) != 1 || s.failures[0] != want {
				t.Errorf("%q, want %q", s.failures, want)
			}
			s.failures = nil
		})
	}
}

// exactAnswers compares everything that some clients read with what they should.
func (s *service) exactAnswers(t *testing.T) {
	t.Helper()
	for _, data := range []string{"", question, question + "Beau", "\x00\xff?" + question, question + strings.Repeat("x", 5000)} {
		conn := s.connect(t)
		send(t, conn, data)
		conn.CloseWrite()
		if got, err := io.ReadAll(conn); string(got) != model([]byte(data)) {
			t.Errorf("%.60q: read %q, %v", data, got, err)
		}
		conn.Close()
	}
}

// The log is the service's alone: others may read it.
func TestLogFile(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	s := start(t, row("in_zen1"))
	s.serveOne(t)
	s.log.await(t, `has closed$`)
	status, err := os.Stat(filepath.Join(s.dir, "zen.log"))
	if err != nil || status.Mode() != 0o644 {
		t.Errorf("%v, %v, want mode 0644", status.Mode(), err)
	}
}

// A client that is gone before in_zen1 has started leaves one line.
func TestClientGoneBeforeTheStart(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	socket, err := accepted.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	accepted.Close()
	reset(conn.(*net.TCPConn))
	command := exec.Command(program(bin, "in_zen1"))
	command.Dir = t.TempDir()
	command.Stdin, command.Stdout, command.Stderr = socket, socket, socket
	err = command.Run()
	socket.Close()
	lines, _ := os.ReadFile(filepath.Join(command.Dir, "zen.log"))
	if want := "Accepted connection from <nil>\nClient <nil> error: read: connection reset by peer\n"; string(lines) != want || err != nil {
		t.Errorf("%v, log:\n%s", err, lines)
	}
}

// Started by hand they say what to do.
func TestStartedByHand(t *testing.T) {
	for _, name := range []string{"in_zen1", "in_zen2"} {
		stdout, stderr, status := run(t, name)
		if want := "standard input is not a socket; inetd starts this program (see inetd.conf)\n"; stdout != "" || stderr != want || status != 1 {
			t.Errorf("%s: status %d\n%s%s", name, status, stdout, stderr)
		}
	}
}
