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
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is inetd, and the programs that inetd starts: their first argument
// says what they do.
func TestMain(m *testing.M) {
	if os.Getenv("INETD_TEST") == "" {
		os.Exit(m.Run())
	}
	switch role := append(os.Args, "")[1]; role {
	default:
		main()
	case "echo": // one client
		io.Copy(os.Stdout, os.Stdin)
	case "refuse":
		os.Exit(3)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("stubborn")
		select {}
	}
	os.Exit(0)
}

// An inetd runs in a folder of its own, with the programs one and two.
type inetd struct {
	*exec.Cmd
	folder string
	log    *bufio.Reader
}

func install(t *testing.T, conf string, args ...string) *inetd {
	t.Helper()
	folder := t.TempDir()
	self, err := os.Executable()
	for _, name := range []string{"inetd", "one", "two"} {
		err = errors.Join(err, os.Link(self, filepath.Join(folder, name)))
	}
	if err := errors.Join(err, os.WriteFile(filepath.Join(folder, "conf"), []byte(conf), 0o644)); err != nil {
		t.Skipf("SKIPPED: the folders for programs and for tests are on two file systems: %v", err)
	}
	command := exec.Command(filepath.Join(folder, "inetd"), args...)
	command.Dir = folder
	command.Env = append(os.Environ(), "INETD_TEST=1", "GORACE=atexit_sleep_ms=0")
	return &inetd{Cmd: command, folder: folder}
}

// start starts inetd, and returns its log. It ends inetd and its programs at the end of
// the test.
func (i *inetd) start(t *testing.T) io.Closer {
	t.Helper()
	output, err := i.StderrPipe()
	if err == nil {
		err = i.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		i.Process.Signal(syscall.SIGTERM)
		i.Wait()
	})
	i.log = bufio.NewReader(output)
	return output
}

// await returns the first submatch of the next line of the log that matches.
func (i *inetd) await(t *testing.T, pattern string) string {
	t.Helper()
	expression := regexp.MustCompile("^" + pattern + "\n$")
	for before := ""; ; {
		line, err := i.log.ReadString('\n')
		if match := expression.FindStringSubmatch(line); match != nil {
			return append(match, "")[1]
		}
		if before += line; err != nil {
			t.Fatalf("inetd has ended, and has not logged %q, but %q", pattern, before)
		}
	}
}

func (i *inetd) address(t *testing.T) string {
	t.Helper()
	return i.await(t, `Listening at (.*) for one \(\w+\)`)
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// ask is a client that sends a line, and leaves when it has come back.
func ask(t *testing.T, address string) {
	t.Helper()
	conn := dial(t, address)
	io.WriteString(conn, "hello\n")
	conn.CloseWrite()
	if text, err := io.ReadAll(conn); string(text) != "hello\n" {
		t.Errorf("read %q, %v", text, err)
	}
	conn.Close()
}

// A program that cannot be started is tried again, its client is not lost, and others do
// not wait for it.
func TestStartFails(t *testing.T) {
	t.Parallel()
	i := install(t, "127.0.0.1:0 stream tcp nowait brandon one one echo\n", "conf")
	i.start(t)
	address := i.address(t)
	path := filepath.Join(i.folder, "one")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	asked := make(chan bool)
	for range 2 {
		go func() {
			ask(t, address)
			asked <- true
		}()
	}
	for range 2 {
		i.await(t, `Accepted connection from 127\.0\.0\.1:\d+`)
	}
	i.await(t, `Start error: .*no such file.*; retrying in 1s`)
	if err := os.Link(filepath.Join(i.folder, "two"), path); err != nil {
		t.Fatal(err)
	}
	<-asked
	<-asked
}

// A program that accepts nobody starts once a second, and not thousands of times.
func TestNeverAccepts(t *testing.T) {
	t.Parallel()
	i := install(t, "127.0.0.1:0 stream tcp wait brandon one one refuse\n", "conf")
	i.start(t)
	dial(t, i.address(t))
	begun := time.Now()
	for range 3 {
		i.await(t, `Ended process \d+: exit status 3`)
	}
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("the program has ended three times within %v", took)
	}
}

// Programs take no thread of inetd. SIGTERM ends them, and then inetd. A signal that is
// ignored, as under nohup, stays so; and inetd goes on when the reader of its log has left.
func TestPrograms(t *testing.T) {
	i := install(t, "127.0.0.1:0 stream tcp nowait.1000 brandon /usr/bin/one one stubborn\n", "conf")
	i.Path, i.Args = "/bin/sh", []string{"sh", "-c", "trap '' HUP; exec ./inetd conf"}
	output := i.start(t)
	address := i.address(t)
	output.Close()
	i.Process.Signal(syscall.SIGHUP)
	threads := func() int {
		found, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", i.Process.Pid))
		return len(found) // 0 if the system does not say
	}
	before := threads()
	var clients []*bufio.Reader
	for range 60 {
		client := bufio.NewReader(dial(t, address))
		if text, err := client.ReadString('\n'); text != "stubborn\n" {
			t.Fatalf("read %q, %v", text, err)
		}
		clients = append(clients, client)
	}
	if now := threads(); now > before {
		t.Errorf("%d threads before, %d with %d programs", before, now, len(clients))
	}
	i.Process.Signal(syscall.SIGTERM)
	for _, client := range clients {
		client.ReadString('\n') // until the program has ended
	}
	i.Wait()
	if status := i.ProcessState.ExitCode(); status != 1 {
		t.Errorf("status %d, want 1", status)
	}
}

// What is wrong is told in one line, which names the line of the file.
func TestBadInput(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for conf, want := range map[string]string{
		"":                                      `conf: expected at least one service`,
		"# a comment\n1060 tcp":                 `conf:2: expected port stream tcp nowait\|wait user program, got "1060 tcp"`,
		"1 dgram udp wait me one":               `conf:1: expected port stream tcp nowait\|wait user program, got .*`,
		"1 stream tcp maybe me one":             `conf:1: expected nowait or wait, got "maybe"`,
		"\n1 stream tcp wait me /usr/bin/other": `conf:2: expected a program at .*/other; inetd looks only in its own folder`,
		"70000 stream tcp wait me one":          `conf:1: listen tcp: .*70000.*`,
		taken.Addr().String() + " stream tcp wait me one": `conf:1: listen tcp .*: bind: address already in use; stop the server that runs there`,
	} {
		check(t, install(t, conf, "conf"), 1, want+"\n")
	}
	usage := "usage: inetd FILE\nAn inetd to read(?s:.*)"
	check(t, install(t, "", "absent"), 1, "open absent: .*\n")
	check(t, install(t, ""), 2, "expected one file, got 0\n"+usage)
	check(t, install(t, "", "-x"), 2, `flag provided but not defined: -x\n`+usage)
	check(t, install(t, "", "-h"), 0, usage)
}

func check(t *testing.T, i *inetd, status int, want string) {
	t.Helper()
	var output strings.Builder
	i.Stdout, i.Stderr = &output, &output
	i.Run()
	if got := i.ProcessState.ExitCode(); got != status || !regexp.MustCompile("^"+want+"$").MatchString(output.String()) {
		t.Errorf("%q: status %d, want %d; printed %q, want %q", i.Args[1:], got, status, output.String(), want)
	}
}
