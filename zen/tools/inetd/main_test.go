//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is inetd, and the programs that inetd starts: their first
// argument says what they do.
func TestMain(m *testing.M) {
	if os.Getenv("INETD_TEST") == "" {
		os.Exit(m.Run())
	}
	role := ""
	if len(os.Args) > 1 {
		role = os.Args[1]
	}
	switch role {
	default:
		main()
	case "connection": // answers one client
		describe(os.Stdout)
		io.Copy(os.Stdout, os.Stdin)
	case "listener": // answers as many clients as the second argument says
		listener, err := net.FileListener(os.Stdin)
		if err != nil {
			os.Exit(1)
		}
		count := 0
		for fmt.Sscan(os.Args[2], &count); count > 0; count-- {
			conn, _ := listener.Accept()
			describe(conn)
			io.Copy(conn, conn)
			conn.Close()
		}
	case "refuse":
		os.Exit(3)
	case "stubborn":
		signal.Ignore(os.Interrupt, syscall.SIGTERM)
		fmt.Println("stubborn")
		time.Sleep(2 * patience) // in case inetd does not end it
	}
	os.Exit(0)
}

// describe says whether standard input blocks. It asks before package net changes
// that, if it is called under nowait.
func describe(w io.Writer) {
	fmt.Fprintf(w, "blocking: %v\n", blockedAtStart)
}

var blockedAtStart = blocks(0)

// blocks reports whether descriptor fd is without O_NONBLOCK.
func blocks(fd uintptr) bool {
	flags, _, err := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
	return err == 0 && flags&syscall.O_NONBLOCK == 0
}

const patience = 60 * time.Second

// An instance is a running inetd, in a folder of its own, with a program.
type instance struct {
	folder  string
	command *exec.Cmd
	lines   chan string // its log; closed at the end
}

// install puts inetd and a program into a new folder, with an inetd.conf.
func install(t *testing.T, conf string) *instance {
	t.Helper()
	i := &instance{folder: t.TempDir(), lines: make(chan string, 10000)}
	i.link(t, "inetd")
	i.link(t, "program")
	i.write(t, conf)
	return i
}

func (i *instance) link(t *testing.T, name string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(i.folder, name)
	if os.Link(self, path) == nil {
		return
	}
	data, err := os.ReadFile(self) // another file system
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (i *instance) write(t *testing.T, conf string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(i.folder, "inetd.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (i *instance) prepare(args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(i.folder, "inetd"), args...)
	command.Dir = i.folder
	command.Env = append(os.Environ(), "INETD_TEST=1", "GORACE=atexit_sleep_ms=0")
	return command
}

// begin starts inetd, and kills it at the end of the test.
func begin(t *testing.T, conf string) *instance {
	t.Helper()
	i := install(t, conf)
	i.command = i.prepare("inetd.conf")
	output, err := i.command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(i.lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			i.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		i.command.Process.Signal(syscall.SIGTERM) // ends the programs too
		defer time.AfterFunc(patience, func() { i.command.Process.Kill() }).Stop()
		for range i.lines {
		}
		i.command.Wait()
	})
	return i
}

// await returns the submatches of the next line that matches.
func (i *instance) await(t *testing.T, pattern string) []string {
	t.Helper()
	expression := regexp.MustCompile("^" + pattern + "$")
	var before []string
	for {
		select {
		case line, ok := <-i.lines:
			if match := expression.FindStringSubmatch(line); match != nil {
				return match
			}
			before = append(before, line)
			if !ok {
				t.Fatalf("inetd has ended, and has not logged %q, but %q", pattern, before)
			}
		case <-time.After(patience):
			t.Fatalf("inetd does not log %q, but %q", pattern, before)
		}
	}
}

// ask is a client that sends a line, and reads what comes until the end.
func ask(t *testing.T, address string) string {
	t.Helper()
	conn := dial(t, address)
	defer conn.Close()
	io.WriteString(conn, "hello\n")
	conn.(*net.TCPConn).CloseWrite()
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	return conn
}

const answer = "blocking: true\nhello\n"

// Under nowait each client has a program, whose start and end are logged.
func TestNowait(t *testing.T) {
	t.Parallel()
	i := begin(t, "# a comment\n\n127.0.0.1:0 stream tcp nowait.1000 brandon /usr/bin/program program connection\n")
	i.await(t, `Starting programs from .*, as the user who runs inetd`)
	address := i.await(t, `Listening at (.*) for program \(nowait\)`)[1]
	for range 2 {
		if got := ask(t, address); got != answer {
			t.Errorf("read %q, want %q", got, answer)
		}
		i.await(t, `Accepted connection from 127\.0\.0\.1:[0-9]+`)
		pid := i.await(t, `Started program as process ([0-9]+)`)[1]
		i.await(t, `Ended process `+pid+`: exit status 0`)
	}
}

// Under wait one program accepts clients. When it has ended, the next client starts
// it again, and standard input blocks again.
func TestWait(t *testing.T) {
	t.Parallel()
	i := begin(t, "127.0.0.1:0 stream tcp wait brandon program program listener 2\n")
	address := i.await(t, `Listening at (.*) for program \(wait\)`)[1]
	for range 2 {
		for range 2 {
			if got := ask(t, address); got != answer {
				t.Errorf("read %q, want %q", got, answer)
			}
		}
		i.await(t, `A client is in the queue at `+regexp.QuoteMeta(address))
		pid := i.await(t, `Started program as process ([0-9]+)`)[1]
		i.await(t, `Ended process `+pid+`: exit status 0`)
	}
}

// 200 clients at once are served, and leave neither a zombie nor a descriptor.
func TestManyClients(t *testing.T) {
	const clients = 200
	for mode, conf := range map[string]string{
		"nowait": "127.0.0.1:0 stream tcp nowait brandon program program connection\n",
		"wait":   "127.0.0.1:0 stream tcp wait brandon program program listener 100\n",
	} {
		t.Run(mode, func(t *testing.T) {
			i := begin(t, conf)
			address := i.await(t, `Listening at (.*) for program .*`)[1]
			ask(t, address) // and whatever stays open stays
			before := i.descriptors()
			done := make(chan bool)
			for range clients - 1 {
				go func() {
					defer func() { done <- true }()
					if got := ask(t, address); got != answer {
						t.Errorf("read %q, want %q", got, answer)
					}
				}()
			}
			for range clients - 1 {
				<-done
			}
			programs := clients
			if mode == "wait" {
				programs /= 100
			}
			for range programs {
				i.await(t, `Ended process [0-9]+: exit status 0`)
			}
			// The last connection may be closed after its program has ended.
			for deadline := time.Now().Add(patience); i.descriptors() > before; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d descriptors before, %d after", before, i.descriptors())
				}
			}
		})
	}
}

// descriptors returns how many descriptors inetd has, or 0 if the system does not
// say.
func (i *instance) descriptors() int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.command.Process.Pid))
	return len(entries)
}

// A start that fails is tried again, and the client is not lost.
func TestStartFails(t *testing.T) {
	t.Parallel()
	for mode, role := range map[string]string{"nowait": "connection", "wait": "listener 1"} {
		i := begin(t, fmt.Sprintf("127.0.0.1:0 stream tcp %s brandon program program %s\n", mode, role))
		address := i.await(t, `Listening at (.*) for program .*`)[1]
		if err := os.Remove(filepath.Join(i.folder, "program")); err != nil {
			t.Fatal(err)
		}
		got := make(chan string)
		go func() { got <- ask(t, address) }()
		for range 2 {
			i.await(t, `Start error: .*no such file.*; retrying in 1s`)
		}
		i.link(t, "program")
		if got := <-got; got != answer {
			t.Errorf("read %q, want %q", got, answer)
		}
	}
}

// A program that accepts nobody starts once a second, and not thousands of times.
func TestNeverAccepts(t *testing.T) {
	t.Parallel()
	i := begin(t, "127.0.0.1:0 stream tcp wait brandon program program refuse\n")
	address := i.await(t, `Listening at (.*) for program .*`)[1]
	begin := time.Now()
	defer dial(t, address).Close()
	for range 3 {
		i.await(t, `Started .*`)
		i.await(t, `Ended process [0-9]+: exit status 3`)
	}
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("the program has started three times within %v", took)
	}
}

// Inetd goes on when the reader of its log has left.
func TestLogReaderLeaves(t *testing.T) {
	t.Parallel()
	i := install(t, "127.0.0.1:0 stream tcp nowait brandon program program connection\n")
	command := i.prepare("inetd.conf")
	output, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	defer command.Process.Kill()
	log := bufio.NewReader(output)
	log.ReadString('\n')
	line, _ := log.ReadString('\n')
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(line)
	output.Close()
	for range 3 {
		if got := ask(t, address); got != answer {
			t.Errorf("read %q, want %q", got, answer)
		}
	}
}

// Control-C and SIGTERM end the programs, and then inetd.
func TestSignal(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		i := begin(t, "127.0.0.1:0 stream tcp nowait brandon program program stubborn\n")
		address := i.await(t, `Listening at (.*) for program .*`)[1]
		var conns []net.Conn
		for range 3 {
			conn := dial(t, address)
			defer conn.Close()
			if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
				t.Fatal(line, err)
			}
			conns = append(conns, conn)
		}
		i.command.Process.Signal(signal)
		for range conns {
			i.await(t, `Ended process [0-9]+: signal: killed`)
		}
		for _, conn := range conns {
			if n, err := conn.Read(make([]byte, 1)); n > 0 || os.IsTimeout(err) {
				t.Errorf("the program is still there: read %d bytes, %v", n, err)
			}
		}
		i.command.Wait()
		if status := i.command.ProcessState.ExitCode(); status != 1 {
			t.Errorf("status %d, want 1", status)
		}
	}
}

// What is wrong is told in one line, which names the line of inetd.conf.
func TestBadInput(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for conf, want := range map[string]string{
		"":                                                                 `inetd.conf: expected at least one service`,
		"# a comment\n1060 tcp":                                            `inetd.conf:2: expected port, stream, tcp, nowait or wait, user, program; got 2 fields`,
		"\n1060 dgram udp wait brandon program":                            `inetd.conf:2: expected stream tcp, got dgram udp`,
		"1060 stream udp wait brandon program":                             `inetd.conf:1: expected stream tcp, got stream udp`,
		"1060 stream tcp maybe brandon program":                            `inetd.conf:1: expected nowait or wait, got maybe`,
		"1060 stream tcp nowait brandon /usr/bin/other":                    `inetd.conf:1: expected a program at .*/other; inetd looks only in its own folder`,
		"nosuchport stream tcp nowait brandon program":                     `inetd.conf:1: listen tcp: .*nosuchport.*`,
		"70000 stream tcp nowait brandon program":                          `inetd.conf:1: listen tcp: .*70000.*`,
		taken.Addr().String() + " stream tcp nowait brandon program":       `inetd.conf:1: listen tcp .*: .*`,
		"127.0.0.1:0 stream tcp wait brandon program\n1061 stream tcp a b": `inetd.conf:2: expected .* got 5 fields`,
	} {
		i := install(t, conf)
		check(t, i.prepare("inetd.conf"), 1, want+"\n")
	}
	i := install(t, "")
	usage := "usage: inetd FILE\nAn inetd to read(?s:.*)"
	check(t, i.prepare("absent"), 1, "open absent: .*\n")
	check(t, i.prepare(), 2, `expected one file, got \[\]\n`+usage)
	check(t, i.prepare("a", "b"), 2, `expected one file, got \["a" "b"\]\n`+usage)
	check(t, i.prepare("-x"), 2, `flag provided but not defined: -x\n`+usage)
	check(t, i.prepare("-h"), 0, usage)
}

func check(t *testing.T, command *exec.Cmd, status int, want string) {
	t.Helper()
	var output strings.Builder
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(patience, func() { command.Process.Kill() })
	defer watchdog.Stop()
	command.Wait()
	if got := command.ProcessState.ExitCode(); got != status || !regexp.MustCompile("^"+want+"$").MatchString(output.String()) {
		t.Errorf("%s %q: status %d, want %d; printed %q, want %q", runtime.GOOS, command.Args[1:], got, status, output.String(), want)
	}
}
