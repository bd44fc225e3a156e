//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen/tools/inetd/superserver"
	"fopnp/chapter07/zen/zentest"
)

// The test binary is inetd, and the programs that inetd starts.
func TestMain(m *testing.M) {
	zentest.Main(m, func() {
		switch os.Args[0] {
		case "echo":
			io.Copy(os.Stderr, os.Stdin) // which is the client, too
		case "destroy":
			syscall.Shutdown(syscall.Stdin, syscall.SHUT_RDWR)
		default:
			main()
		}
	})
}

var (
	self, _      = os.Executable()
	folder, name = filepath.Split(self)
)

func newService(t *testing.T, mode string) (s *superserver.Service, address string) {
	s, err := open("127.0.0.1:0 stream tcp "+mode+" me /usr/bin/"+name+" zen -x", folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Listener.Close() })
	return s, s.Listener.Addr().String()
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

// expectEcho fails if client does not get back what it sends.
func expectEcho(t *testing.T, client net.Conn) {
	t.Helper()
	io.WriteString(client, "hello\n")
	if data, err := bufio.NewReader(client).ReadString('\n'); data != "hello\n" {
		t.Fatalf("read %q, %v", data, err)
	}
}

// A line of inetd.conf is a service, or an error that says what is wrong.
func TestOpen(t *testing.T) {
	s, address := newService(t, "wait.1000")
	if c := s.Command(); !s.Wait || s.Pause < time.Second || c.Path != self || fmt.Sprint(c.Args) != "[zen -x]" {
		t.Errorf("%+v starts %s %q", s, c.Path, c.Args)
	}
	for line, want := range map[string]string{
		"1060 stream tcp wait me one":                    `^expected port stream tcp nowait\|wait user program name, got "1060 stream tcp wait me one"$`,
		"1060 dgram tcp wait me one one":                 `^expected port stream tcp`,
		"1060 stream udp wait me one one":                `^expected port stream tcp`,
		"1060 stream tcp maybe me one one":               `^expected port stream tcp`,
		"1060 stream tcp\twait  me other one":            `^expected a program at .*/other; inetd looks only in its own folder$`,
		"70000 stream tcp wait me " + name + " one":      `: address 70000: invalid port$`,
		address + " stream tcp wait me " + name + " one": `: address already in use; stop the server that runs there$`,
	} {
		if _, err := open(line, folder); !regexp.MustCompile(want).MatchString(fmt.Sprint(err)) {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}

// What is wrong is told in one line, which names the line of the file.
func TestErrors(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "conf")
	for text, want := range map[string]string{
		"\n # a comment\n1060 tcp\n": `:3: expected port stream tcp nowait|wait user program name, got "1060 tcp"`,
		"# a comment\n":              ": expected at least one service",
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

// start starts inetd for a service, under nohup. It returns the service's address, and
// both ends of inetd's log.
func start(t *testing.T, service string) (inetd *exec.Cmd, address string, output, stderr *os.File) {
	conf := filepath.Join(t.TempDir(), "conf")
	os.WriteFile(conf, []byte("127.0.0.1:0 stream tcp "+service), 0o644)
	inetd = zentest.Program(conf)
	output, stderr, _ = os.Pipe()
	inetd.Stderr = stderr
	signal.Ignore(syscall.SIGHUP) // a program that starts inherits this
	err := inetd.Start()
	signal.Reset(syscall.SIGHUP)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fscanf(output, "Starting programs from %s as the user who runs inetd\nListening at %s", new(string), &address)
	return inetd, address, output, stderr
}

// Inetd goes on without its terminal. SIGTERM ends its programs, and then inetd. If its
// log is full, because nobody reads it, a second SIGTERM ends inetd.
func TestSignals(t *testing.T) {
	inetd, address, output, stderr := start(t, "nowait me "+name+" echo")
	defer output.Close() // if it were closed before, writing would fail and not block
	inetd.Process.Signal(syscall.SIGHUP)
	client := connect(t, address)
	expectEcho(t, client)
	pipe := int(stderr.Fd())
	syscall.SetNonblock(pipe, true)
	for n := 1; n > 0; n, _ = syscall.Write(pipe, []byte("x")) {
	}
	syscall.SetNonblock(pipe, false)
	inetd.Process.Signal(syscall.SIGTERM)
	io.ReadAll(client) // returns when its program has ended
	go func() {
		for inetd.Process.Signal(syscall.SIGTERM) == nil { // until the first has been handled
			time.Sleep(time.Millisecond)
		}
	}()
	if inetd.Wait(); inetd.ProcessState.String() != "signal: terminated" {
		t.Errorf("ended with %v", inetd.ProcessState)
	}
}

// Inetd goes on without a reader of its log. A service whose socket does not listen any
// more ends, and inetd ends with the last one.
func TestDestroyed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux lets a program destroy a socket that listens")
	}
	inetd, address, output, stderr := start(t, "wait me "+name+" destroy")
	output.Close()
	stderr.Close()
	connect(t, address)
	if inetd.Wait(); inetd.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v, want status 1", inetd.ProcessState)
	}
}

// Under wait a program that ends and has accepted nobody is started again, once in each
// pause.
func TestNeverAccepts(t *testing.T) {
	s, address := newService(t, "wait")
	starts := make(chan bool, 1000)
	s.Pause, s.Command = 200*time.Millisecond, func() *exec.Cmd {
		starts <- true
		return exec.Command("false")
	}
	go s.Serve(t.Context())
	t.Cleanup(s.End)
	<-starts // for the log
	begun := time.Now()
	connect(t, address)
	for range 3 {
		<-starts
	}
	if took := time.Since(begun); took < 2*s.Pause {
		t.Errorf("the program has started three times within %v", took)
	}
}

// Under nowait a client is served when its program can be started, and others do not wait
// until then. Programs take no thread each. When ctx is done they are killed, and End
// returns when they have ended. When the listener is closed, Serve returns.
func TestNowait(t *testing.T) {
	threads := func() int {
		found, _ := os.ReadDir("/proc/self/task")
		return len(found) // 0 if the system does not say
	}
	var lines strings.Builder
	log.SetOutput(&lines)
	defer log.SetOutput(os.Stderr)
	ctx, cancel := context.WithCancel(t.Context())
	s, address := newService(t, "nowait")
	var calls atomic.Int32
	failing := make(chan bool)
	s.Pause, s.Command = time.Millisecond, func() *exec.Cmd {
		if calls.Add(1) == 2 { // the first call is for the log
			failing <- true
			failing <- true
			return exec.Command("/no/such/program")
		}
		return exec.Command("/bin/sh", "-c", "trap '' TERM; exec cat")
	}
	served := make(chan error)
	go func() { served <- s.Serve(ctx) }()
	first := connect(t, address)
	<-failing
	before := threads()
	for range 60 {
		expectEcho(t, connect(t, address))
	}
	if now := threads(); now > before+30 {
		t.Errorf("%d threads before, %d with 60 programs", before, now)
	}
	<-failing
	expectEcho(t, first)
	cancel()
	s.End()
	s.Listener.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if ended := strings.Count(lines.String(), ": signal: killed\n"); ended != 61 {
		t.Errorf("End has returned when %d of 61 programs had ended", ended)
	}
}
