//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen/tools/inetd/superserver"
	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M) { zentest.Main(m, main) }

var (
	self, _      = os.Executable()
	folder, name = filepath.Split(self)
)

// newService returns the service of a line whose program is this binary.
func newService(t *testing.T, mode string) *superserver.Service {
	t.Helper()
	s, err := open(strings.Fields("127.0.0.1:0 stream tcp "+mode+" me /usr/bin/"+name+" zen -x"), folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Listener.Close() })
	return s
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A line of inetd.conf is a service, or an error that says what is wrong.
func TestOpen(t *testing.T) {
	s := newService(t, "wait")
	if c := s.Command(); !s.Wait || s.Pause < time.Second || c.Path != self || fmt.Sprint(c.Args) != "[zen -x]" {
		t.Errorf("%+v starts %s %q", s, c.Path, c.Args)
	}
	for line, want := range map[string]string{
		"1060 stream tcp wait me":                                  `^expected port stream tcp nowait\|wait user program, got "1060 stream tcp wait me"$`,
		"1060 dgram tcp wait me one":                               `^expected port stream tcp`,
		"1060 stream udp wait me one":                              `^expected port stream tcp`,
		"1060 stream tcp maybe me one":                             `^expected nowait or wait, got "maybe"$`,
		"1060 stream tcp wait me other":                            `^expected a program at .*/other; inetd looks only in its own folder$`,
		"70000 stream tcp wait me " + name:                         `: address 70000: invalid port$`,
		s.Listener.Addr().String() + " stream tcp wait me " + name: `: address already in use; stop the server that runs there$`,
	} {
		if _, err := open(strings.Fields(line), folder); !regexp.MustCompile(want).MatchString(fmt.Sprint(err)) {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}

// What is wrong is told in one line, which names the line of the file.
func TestErrors(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "conf")
	for text, want := range map[string]string{
		"\n# a comment\n1060 tcp\n": `:3: expected port stream tcp nowait|wait user program, got "1060 tcp"`,
		"# a comment\n":             ": expected at least one service",
	} {
		os.WriteFile(conf, []byte(text), 0o644)
		if run := zentest.Run(t, zentest.Program(conf)); run.Stderr != conf+want+"\n" || run.Status != 1 {
			t.Errorf("%q: %+v", text, run)
		}
	}
	if run := zentest.Run(t, zentest.Program()); run.Status != 2 {
		t.Errorf("no file: %+v", run)
	}
}

// Under nohup inetd goes on without its terminal, and without a reader of its log. It
// starts itself here, which tells each client how to use it. SIGTERM ends it.
func TestNohup(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "conf")
	os.WriteFile(conf, []byte("127.0.0.1:0 stream tcp nowait.1000 me "+name+"\n"), 0o644)
	command := zentest.Program(conf)
	output, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGHUP) // a program that starts inherits this
	err = command.Start()
	signal.Reset(syscall.SIGHUP)
	if err != nil {
		t.Fatal(err)
	}
	log, _ := bufio.NewReader(output).ReadString('(') // of Listening at ADDRESS for PROGRAM (nowait)
	_, address, _ := strings.Cut(log, "Listening at ")
	address, _, _ = strings.Cut(address, " ")
	output.Close()
	command.Process.Signal(syscall.SIGHUP)
	for range 20 {
		if text, err := io.ReadAll(connect(t, address)); !strings.HasPrefix(string(text), "expected one file, got 0\nusage: ") {
			t.Fatalf("read %q, %v", text, err)
		}
	}
	command.Process.Signal(syscall.SIGTERM)
	if command.Wait(); command.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v, want status 1", command.ProcessState)
	}
}

// cat is a program that SIGTERM does not end.
func cat() *exec.Cmd { return exec.Command("/bin/sh", "-c", "trap '' TERM; exec cat") }

// expectEcho fails if client does not get back what it sends.
func expectEcho(t *testing.T, client net.Conn) {
	t.Helper()
	data := make([]byte, 6)
	io.WriteString(client, "hello\n")
	if _, err := io.ReadFull(client, data); err != nil || string(data) != "hello\n" {
		t.Fatalf("read %q, %v", data, err)
	}
}

// If a program cannot be started, others do not wait until it can. Then its client is
// served.
func TestStartFails(t *testing.T) {
	for _, pause := range []time.Duration{time.Hour, time.Millisecond} {
		var calls atomic.Int32
		failing := make(chan bool, 1)
		s := newService(t, "nowait")
		s.Pause, s.Command = pause, func() *exec.Cmd {
			if calls.Add(1) == 2 { // the first call is for the log
				failing <- true
				return exec.Command("/no/such/program")
			}
			return cat()
		}
		go s.Serve(t.Context())
		client := connect(t, s.Listener.Addr().String())
		<-failing
		if pause == time.Hour {
			client = connect(t, s.Listener.Addr().String())
		}
		expectEcho(t, client)
	}
}

// A program that ends and has accepted nobody is started again, once in each pause.
func TestNeverAccepts(t *testing.T) {
	const pause = 200 * time.Millisecond
	starts := make(chan bool, 1000)
	s := newService(t, "wait")
	s.Pause, s.Command = pause, func() *exec.Cmd {
		starts <- true
		return exec.Command("false")
	}
	go s.Serve(t.Context())
	<-starts // for the log
	begun := time.Now()
	connect(t, s.Listener.Addr().String())
	for range 3 {
		<-starts
	}
	if took := time.Since(begun); took < 2*pause {
		t.Errorf("the program has started three times within %v", took)
	}
}

// Programs take no thread each. When ctx is done they are killed, and End returns. When
// the listener is closed, Serve returns.
func TestPrograms(t *testing.T) {
	threads := func() int {
		found, _ := os.ReadDir("/proc/self/task")
		return len(found) // 0 if the system does not say
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := newService(t, "nowait")
	s.Command = cat
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	before := threads()
	var clients []net.Conn
	for range 60 {
		client := connect(t, s.Listener.Addr().String())
		expectEcho(t, client)
		clients = append(clients, client)
	}
	if now := threads(); now > before+len(clients)/2 {
		t.Errorf("%d threads before, %d with %d programs", before, now, len(clients))
	}
	cancel()
	for _, client := range clients {
		client.Read(make([]byte, 1)) // returns when its program has ended
	}
	s.End()
	s.Listener.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
