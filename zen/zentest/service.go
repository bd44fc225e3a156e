package zentest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long the suite waits for what must happen. It is long, so that
// a slow machine breaks no rule. Quiet is how long the suite watches for what must
// not happen.
var patience, quiet = 60 * time.Second, 100 * time.Millisecond

// A service is a running server: one process, or those that inetd starts.
type service struct {
	server  Server
	address string
	log     *lineLog
	dir     string // where the log file of a server under inetd is
	options options

	mu        sync.Mutex
	processes map[*exec.Cmd]chan struct{} // running; each channel is closed when its process ends
	cpu       time.Duration               // of those that have ended
	stopping  bool
	failures  []string
	stopInetd func()
}

// options say how to start a server.
type options struct {
	environment []string
	descriptors int      // the limit; 0 leaves it as it is
	address     string   // where to listen; "" is a free port of 127.0.0.1
	arguments   []string // instead of -p PORT HOST
}

// start starts a server, waits until it listens, and stops it at the end of the
// test. The test fails if the server ends before, or logs a stack trace or a data
// race.
func start(t testing.TB, server Server, o options) *service {
	t.Helper()
	s := &service{server: server, options: o, log: newLineLog(), dir: t.TempDir(), processes: map[*exec.Cmd]chan struct{}{}}
	t.Cleanup(func() { s.stop(t) })
	switch {
	case server.Inetd != "":
		s.startInetd(t)
	case server.ours():
		if o.arguments == nil {
			host, port, _ := net.SplitHostPort(cmp.Or(o.address, "127.0.0.1:0"))
			o.arguments = []string{"-p", port, host}
		}
		s.run(t, o.arguments...)
		s.address = s.log.await(t, `^Listening at (.*)$`)[1]
	default:
		s.startForeign(t)
	}
	return s
}

// run starts this program with arguments.
func (s *service) run(t testing.TB, args ...string) {
	t.Helper()
	command := s.program(args...)
	command.Stderr = s.log
	if _, err := s.begin(command); err != nil {
		t.Fatal(err)
	}
}

// program returns a command that is this program.
func (s *service) program(args ...string) *exec.Cmd {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	command := s.limited(append([]string{path}, args...))
	if s.options.descriptors == 0 {
		command.Args[0] = programName()
	}
	command.Env = append(os.Environ(), runVariable+"=1", "GORACE=atexit_sleep_ms=0")
	command.Env = append(command.Env, s.server.environment...)
	command.Env = append(command.Env, s.options.environment...)
	return command
}

// limited returns a command with the limit of descriptors that the options say.
func (s *service) limited(args []string) *exec.Cmd {
	if s.options.descriptors > 0 {
		limit := fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, s.options.descriptors)
		args = append([]string{"sh", "-c", limit}, args...)
	}
	return exec.Command(args[0], args[1:]...)
}

// startForeign starts a server that is not ours, and waits until it accepts.
func (s *service) startForeign(t testing.TB) {
	t.Helper()
	s.address = s.options.address
	if s.address == "" {
		s.address = freeAddress(t)
	}
	host, port, _ := net.SplitHostPort(s.address)
	var args []string
	for _, arg := range s.server.Command {
		args = append(args, strings.NewReplacer("{host}", host, "{port}", port).Replace(arg))
	}
	command := s.limited(args)
	command.Env = append(os.Environ(), s.server.environment...)
	command.Stdout, command.Stderr = s.log, s.log
	ended, err := s.begin(command)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			text, _ := s.log.read()
			t.Fatalf("the server does not start:\n%.2000s", text)
		case <-time.After(20 * time.Millisecond): // a foreign server does not say when it listens
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// freeAddress returns an address of this machine at which nobody listens, and
// another one at each call: tests that run at the same time must not share one.
func freeAddress(t testing.TB) string {
	t.Helper()
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
		address := listener.Addr().String()
		if _, used := usedAddresses.LoadOrStore(address, true); !used {
			return address
		}
	}
}

var usedAddresses sync.Map

// begin starts command, and remembers it until it has ended.
func (s *service) begin(command *exec.Cmd) (ended chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended = make(chan struct{})
	if s.stopping {
		close(ended)
		return ended, nil
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	s.processes[command] = ended
	go func() {
		command.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		state := command.ProcessState
		s.cpu += state.UserTime() + state.SystemTime()
		if !s.stopping && (s.server.Inetd == "" || !state.Success()) {
			s.failures = append(s.failures, fmt.Sprintf("the server has ended: %v", state))
		}
		delete(s.processes, command)
		close(ended)
	}()
	return ended, nil
}

// signal sends a signal to every process, and returns what tells their ends.
func (s *service) signal(signal os.Signal) (ended []chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for command, end := range s.processes {
		command.Process.Signal(signal)
		ended = append(ended, end)
	}
	return ended
}

// end ends the server with signal, and returns the processor time that it used.
func (s *service) end(t testing.TB, signal os.Signal) time.Duration {
	t.Helper()
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	for _, ended := range s.signal(signal) {
		select {
		case <-ended:
		case <-time.After(patience):
			t.Errorf("the server does not end by %v", signal)
			s.signal(os.Kill)
			<-ended
		}
	}
	if s.stopInetd != nil {
		s.stopInetd()
		s.stopInetd = nil
	}
	return s.cpu
}

// expectEnd waits until the server ends by itself, and checks how.
func (s *service) expectEnd(t testing.TB, status int) {
	t.Helper()
	deadline := time.After(patience)
	for _, ended := range s.signal(nothing) {
		select {
		case <-ended:
		case <-deadline:
			t.Fatal("the server does not end")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	want := fmt.Sprintf("the server has ended: exit status %d", status)
	if len(s.failures) != 1 || s.failures[0] != want {
		t.Errorf("%q, want %q", s.failures, want)
	}
	s.failures = nil
}

func (s *service) stop(t testing.TB) {
	t.Helper()
	s.end(t, os.Kill)
	text, _ := s.log.read()
	for _, failure := range s.failures {
		t.Errorf("%s; its log ends:\n%s", failure, text[max(0, len(text)-2000):])
	}
	if s.server.ours() && strings.Contains(text, "<nil>") {
		t.Errorf("a client without an address in the log:\n%.4000s", text)
	}
	if s.server.ours() && strings.Contains(strings.ToLower(text), "goroutine ") && !strings.Contains(text, "on purpose") {
		t.Errorf("a stack trace in the log:\n%.4000s", text)
	}
}

// residentMemory returns the bytes of memory of all processes of the server.
func (s *service) residentMemory(t testing.TB) (bytes int) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED on Windows: there is no ps to tell the memory of a process")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for command := range s.processes {
		output, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(command.Process.Pid)).Output()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip("SKIPPED: there is no ps to tell the memory of a process (Debian: apt-get install procps)")
		}
		kilobytes, _ := strconv.Atoi(strings.TrimSpace(string(output))) // none if it has just ended
		bytes += kilobytes << 10
	}
	if bytes == 0 && s.server.Inetd != "nowait" {
		t.Fatal("ps does not tell the memory of the server")
	}
	return bytes
}

// checkMemory fails if the server has more memory than limit, in MiB. Under the
// race detector a program needs much more.
func (s *service) checkMemory(t testing.TB, limit int) {
	t.Helper()
	if raceDetector {
		limit *= 8
	}
	if got := s.residentMemory(t) >> 20; got > limit {
		t.Errorf("the server has %d MiB of memory, want at most %d", got, limit)
	}
}

// connect returns a connection to the server, closed at the end of the test.
func (s *service) connect(t testing.TB) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// serveOne is a client that asks one question and leaves. It returns when the
// server has closed the connection.
func (s *service) serveOne(t testing.TB) {
	t.Helper()
	conn := s.connect(t)
	defer conn.Close()
	ask(t, conn)
	conn.CloseWrite()
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
		t.Fatalf("after the client closed its side: read %q, %v; want the end", rest, err)
	}
}

func send(t testing.TB, conn net.Conn, data string) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, data); err != nil {
		t.Fatalf("sending %.60q: %v", data, err)
	}
}

func expect(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(patience))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); string(got[:n]) != want {
		t.Fatalf("read %.200q, %v; want %.200q", got[:n], err, want)
	}
}

// expectNothing fails if the server sends anything, or closes, for a while.
func expectNothing(t testing.TB, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(quiet))
	n, err := conn.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want nothing yet", n, err)
	}
}

const question, answer, unknown = "Simple is better than?", "Complex.", "Error: unknown aphorism."

func ask(t testing.TB, conn net.Conn) {
	t.Helper()
	send(t, conn, question)
	expect(t, conn, answer)
}

// reset ends a connection at once, and all that is on its way is lost.
func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// Run runs the program to its end, with stdin, which may be nil, and arguments.
// It returns what the program printed, what is in its log file, and its status.
func Run(t testing.TB, stdin *os.File, args ...string) (stdout, stderr, logFile string, status int) {
	t.Helper()
	return Server{}.run(t, stdin, args...)
}

func (server Server) run(t testing.TB, stdin *os.File, args ...string) (stdout, stderr, logFile string, status int) {
	t.Helper()
	path := t.TempDir() + "/zen.log"
	s := &service{server: server, options: options{environment: []string{logVariable + "=" + path}}}
	command := s.program(args...)
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	if stdin != nil {
		command.Stdin = stdin
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(patience, func() { command.Process.Kill() })
	command.Wait()
	if !watchdog.Stop() {
		t.Fatalf("%s %q does not end", programName(), args)
	}
	lines, _ := os.ReadFile(path)
	return out.String(), errs.String(), string(lines), command.ProcessState.ExitCode()
}

// A lineLog keeps what is written to it, for a test to wait for.
type lineLog struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced when something is written
}

func newLineLog() *lineLog { return &lineLog{changed: make(chan struct{})} }

func (l *lineLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	close(l.changed)
	l.changed = make(chan struct{})
	return len(b), nil
}

// read returns the text so far, and a channel that is closed when there is more.
func (l *lineLog) read() (string, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String(), l.changed
}

// await waits until the log has a line that matches, and returns the submatches.
func (l *lineLog) await(t testing.TB, pattern string) []string {
	t.Helper()
	return l.awaitTimes(t, 1, pattern)
}

// awaitTimes waits until n lines match, and returns the submatches of the last.
func (l *lineLog) awaitTimes(t testing.TB, n int, pattern string) []string {
	t.Helper()
	expression := regexp.MustCompile("(?m)" + pattern)
	timeout := time.After(patience)
	for {
		text, changed := l.read()
		if matches := expression.FindAllStringSubmatch(text, n); len(matches) == n {
			return matches[n-1]
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("the log does not say %q (%d times):\n%.2000s", pattern, n, text)
		}
	}
}
