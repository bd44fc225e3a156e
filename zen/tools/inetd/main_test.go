//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/inetd/superserver"
	"fopnp/chapter07/zen/zentest"
)

// The test binary is inetd, and echo FILE, which inetd starts. The first echo removes FILE
// and kills itself. The next one serves a client, and shuts down the listening socket.
func TestMain(m *testing.M) {
	zentest.Main(m, func() {
		if os.Args[0] != "echo" {
			main()
			return
		}
		if os.Remove(os.Args[1]) == nil {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		listener, _ := net.FileListener(os.Stdin)
		conn, _ := listener.Accept()
		io.Copy(conn, conn)
		syscall.Shutdown(syscall.Stdin, syscall.SHUT_RDWR)
	})
}

var self, _ = os.Executable()
var folder, name = filepath.Split(self)

// expectEcho connects to address, and fails if the client does not get back what it sends.
func expectEcho(t *testing.T, address string) (client net.Conn) {
	t.Helper()
	client, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	io.WriteString(client, "hello\n")
	if data, err := bufio.NewReader(client).ReadString('\n'); data != "hello\n" {
		t.Fatalf("read %q, %v", data, err)
	}
	return client
}

// What is wrong is told in one line, which names the line of the file.
func TestErrors(t *testing.T) {
	listener := zen.Listen("127.0.0.1:0")
	defer listener.Close()
	conf, taken := filepath.Join(t.TempDir(), "conf"), listener.Addr().String()
	for text, want := range map[string]string{
		"\n # a comment\n1060 dgram tcp wait me one one\n": `:3: expected port stream tcp nowait|wait user program name, got "1060 dgram tcp wait me one one"`,
		"1060 stream tcp maybe me one one":                 `:1: expected port stream tcp nowait|wait user program name, got "1060 stream tcp maybe me one one"`,
		"1060 stream tcp wait me one":                      `:1: expected port stream tcp nowait|wait user program name, got "1060 stream tcp wait me one"`,
		"1060 stream tcp\twait  me other one":              ":1: expected a program at " + folder + "other; inetd looks only in its own folder",
		"70000 stream tcp wait me " + name + " one":        ":1: listen tcp: address 70000: invalid port",
		taken + " stream tcp wait me " + name + " one":     ":1: listen tcp " + taken + ": bind: address already in use; stop the server that runs there",
		"# a comment\n": " has no service that listens",
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

// Under wait a program that ends and has accepted nobody is started again, once a second.
// Inetd goes on without its terminal (nohup), and without a reader of its log. A service
// whose socket does not listen any more ends, and inetd ends with the last one.
func TestInetd(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "conf")
	os.WriteFile(conf, []byte("127.0.0.1:0 stream tcp wait.1000 me /usr/bin/"+name+" echo "+conf), 0o644)
	inetd := zentest.Program(conf)
	inetd.Path, inetd.Args = "/bin/sh", []string{"sh", "-c", `trap "" HUP; exec "$0" "$1"`, self, conf}
	output, _ := inetd.StderrPipe() // fails only if Stderr is set
	if err := inetd.Start(); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-inetd.Process.Pid, syscall.SIGKILL) // with all that it has started
	var address string
	fmt.Fscanf(output, "Listening at %s for echo\n", &address)
	began := time.Now()
	client := expectEcho(t, address)
	if took := time.Since(began); took < time.Second {
		t.Errorf("the program was started twice within %v", took)
	}
	const killed = "A client is in the queue at %s\nStarted echo as process %d\nEnded process %d: signal: killed\n"
	if _, err := fmt.Fscanf(output, killed, new(string), new(int), new(int)); err != nil {
		t.Error(err)
	}
	output.Close()
	inetd.Process.Signal(syscall.SIGHUP)
	client.Close()
	if runtime.GOOS != "linux" {
		expectEcho(t, address)
		t.Skip("SKIPPED in part: only Linux lets a program destroy a socket that listens")
	}
	if inetd.Wait(); inetd.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v, want status 1", inetd.ProcessState)
	}
}

// Under nowait a client is served even if its program cannot be started at first. Programs
// take no thread each. When the listener is closed, Serve returns.
func TestNowait(t *testing.T) {
	t.Parallel()
	threads := func() int {
		found, _ := os.ReadDir("/proc/self/task")
		return len(found) // 0 if the system does not say
	}
	listener, served := zen.Listen("127.0.0.1:0"), make(chan error)
	go func() {
		program := "/no/such/program"
		served <- superserver.Serve["nowait"](listener, func() *exec.Cmd {
			defer func() { program = "cat" }()
			return exec.Command(program)
		})
	}()
	before := threads()
	for range 60 {
		expectEcho(t, listener.Addr().String())
	}
	if now := threads(); now > before+30 {
		t.Errorf("%d threads before, %d with 60 programs", before, now)
	}
	listener.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
