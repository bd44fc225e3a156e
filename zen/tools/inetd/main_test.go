//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/inetd/superserver"
	"fopnp/chapter07/zen/zentest"
)

// The test binary is inetd, and echo, which inetd starts: it serves one client, and then
// shuts down the listening socket.
func TestMain(m *testing.M) {
	zentest.Main(m, func() {
		if os.Args[0] != "echo" {
			main()
			return
		}
		listener, _ := net.FileListener(os.Stdin)
		conn, _ := listener.Accept()
		io.Copy(conn, conn)
		syscall.Shutdown(syscall.Stdin, syscall.SHUT_RDWR)
	})
}

var (
	self, _      = os.Executable()
	folder, name = filepath.Split(self)
)

func listen(t *testing.T) zen.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return zen.Listener{TCPListener: listener.(*net.TCPListener)}
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

// What is wrong is told in one line, which names the line of the file.
func TestErrors(t *testing.T) {
	conf, taken := filepath.Join(t.TempDir(), "conf"), listen(t).Addr().String()
	for text, want := range map[string]string{
		"\n # a comment\n1060 tcp\n":                   `:3: expected port stream tcp nowait|wait user program name, got "1060 tcp"`,
		"1060 stream tcp maybe me one one":             `:1: expected port stream tcp nowait|wait user program name, got "1060 stream tcp maybe me one one"`,
		"1060 dgram tcp wait me one one":               `:1: expected port stream tcp nowait|wait user program name, got "1060 dgram tcp wait me one one"`,
		"1060 stream tcp wait me one":                  `:1: expected port stream tcp nowait|wait user program name, got "1060 stream tcp wait me one"`,
		"1060 stream tcp\twait  me other one":          ":1: expected a program at " + folder + "other; inetd looks only in its own folder",
		"70000 stream tcp wait me " + name + " one":    ":1: listen tcp: address 70000: invalid port",
		taken + " stream tcp wait me " + name + " one": ":1: listen tcp " + taken + ": bind: address already in use; stop the server that runs there",
		"# a comment\n":                                " has no service that listens",
	} {
		os.WriteFile(conf, []byte(text), 0o644)
		if run := zentest.Run(t, zentest.Program(conf)); run.Stderr != conf+want+"\n" || run.Status != 1 {
			t.Errorf("%q: %+v, want %s", text, run, want)
		}
	}
	if run := zentest.Run(t, zentest.Program()); run.Status != 2 {
		t.Errorf("no file: %+v", run)
	}
}

// Inetd goes on without its terminal (nohup), and without a reader of its log. A service
// whose socket does not listen any more ends, and inetd ends with the last one.
func TestInetd(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "conf")
	os.WriteFile(conf, []byte("127.0.0.1:0 stream tcp wait.1000 me /usr/bin/"+name+" echo"), 0o644)
	inetd := zentest.Program(conf)
	output, err := inetd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGHUP) // a program that starts inherits this
	err = inetd.Start()
	signal.Reset(syscall.SIGHUP)
	if err != nil {
		t.Fatal(err)
	}
	defer inetd.Process.Kill()
	var address string
	fmt.Fscanf(output, "Listening at %s for echo", &address)
	output.Close()
	inetd.Process.Signal(syscall.SIGHUP)
	client := connect(t, address)
	expectEcho(t, client)
	client.Close()
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED in part: only Linux lets a program destroy a socket that listens")
	}
	if inetd.Wait(); inetd.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v, want status 1", inetd.ProcessState)
	}
}

// Under wait a program that ends and has accepted nobody is started again, once a second.
// The log says how it has ended.
func TestNeverAccepts(t *testing.T) {
	read, write := io.Pipe()
	log.SetFlags(0)
	log.SetOutput(write)
	defer log.SetOutput(os.Stderr)
	defer read.Close() // ends a write that waits
	listener, lines := listen(t), bufio.NewReader(read)
	go superserver.Serve["wait"](listener, func() *exec.Cmd { return exec.Command("sh", "-c", "kill -KILL $$") })
	begun := time.Now()
	connect(t, listener.Addr().String())
	for range 3 {
		const format = "A client is in the queue at %s\nStarted sh as process %d\nEnded process %d: signal: killed\n"
		if _, err := fmt.Fscanf(lines, format, new(string), new(int), new(int)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("the program has started three times within %v", took)
	}
}

// Under nowait a client is served when its program can be started, and others do not wait
// until then. Programs take no thread each. When the listener is closed, Serve returns.
func TestNowait(t *testing.T) {
	t.Parallel()
	threads := func() int {
		found, _ := os.ReadDir("/proc/self/task")
		return len(found) // 0 if the system does not say
	}
	var starts atomic.Int32
	failing := make(chan bool)
	listener, served := listen(t), make(chan error)
	go func() {
		served <- superserver.Serve["nowait"](listener, func() *exec.Cmd {
			if starts.Add(1) == 1 {
				failing <- true
				failing <- true
				return exec.Command("/no/such/program")
			}
			return exec.Command("cat")
		})
	}()
	first := connect(t, listener.Addr().String())
	<-failing
	before := threads()
	for range 60 {
		expectEcho(t, connect(t, listener.Addr().String()))
	}
	if now := threads(); now > before+30 {
		t.Errorf("%d threads before, %d with 60 programs", before, now)
	}
	<-failing
	expectEcho(t, first)
	listener.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
