package zentest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// quiet is how long the suite watches for what must not happen.
const quiet = 100 * time.Millisecond

// A service is a running server: one process, or those that inetd starts.
type service struct {
	server   Server
	options  options
	address  string
	log      *lineLog
	logFile  string    // the log of a server under inetd
	leave    io.Closer // the reader of standard error leaves, if the options say so
	patience time.Duration
	quiet    time.Duration

	mu        sync.Mutex
	processes map[*exec.Cmd]chan struct{} // running; each channel is closed when its process ends
	cpu       time.Duration               // of those that have ended
	stopping  bool
	ends      []string // how processes have ended that the test has not stopped
	stopInetd func()
}

// options say how to start a server.
type options struct {
	environment []string
	descriptors int      // the limit; 0 leaves it as it is
	address     string   // where to listen; "" is a free port of 127.0.0.1
	arguments   []string // in place of -p PORT HOST
	leaving     bool     // the reader of standard error can leave
	thinking    time.Duration
	quiet       time.Duration // in place of the server's
}

// start starts a server, waits until it listens, and stops it at the end of the
// test. The test fails if the server ends before, or logs a stack trace.
func start(t testing.TB, server Server, o options) *service {
	t.Helper()
	s, err := launch(t, server, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// launch is start, but returns an error if the server does not start.
func launch(t testing.TB, server Server, o options) (s *service, err error) {
	for range 3 { // somebody else may take the free port
		s = &service{
			server:    server,
			options:   o,
			address:   o.address,
			log:       newLineLog(),
			logFile:   t.TempDir() + "/zen.log",
			patience:  cmp.Or(server.patience, time.Minute),
			quiet:     cmp.Or(o.quiet, server.quiet, quiet),
			processes: map[*exec.Cmd]chan struct{}{},
		}
		if server.Inetd != "" {
			s.startInetd(t)
		} else {
			if s.address == "" {
				s.address = freeAddress(t)
			}
			err = s.startListening()
		}
		if err == nil {
			t.Cleanup(func() { s.stop(t) })
			return s, nil
		}
		s.end(t, os.Kill)
		if o.address != "" {
			break
		}
	}
	return nil, err
}

// startListening starts a server that listens by itself, and waits until it does.
func (s *service) startListening() error {
	host, port, _ := net.SplitHostPort(s.address)
	command := exec.Command("")
	if s.server.ours() {
		args := s.options.arguments
		if args == nil {
			args = []string{"-p", port, host}
		}
		if s.options.thinking > 0 {
			args = append(args, "-think", s.options.thinking.String())
		}
		command = s.program(args...)
	} else {
		var args []string
		for _, arg := range s.server.Command {
			args = append(args, strings.NewReplacer("{host}", host, "{port}", port).Replace(arg))
		}
		command = s.limited(args)
		command.Dir = moduleRoot()
		command.Env = append(os.Environ(), s.server.environment...)
		command.Stdout = s.log
	}
	command.Stderr = s.log
	if s.options.leaving {
		reader, writer, err := os.Pipe()
		if err != nil {
			return err
		}
		defer writer.Close()
		s.leave, command.Stderr = reader, writer
		if !s.server.ours() {
			command.Stdout = writer
		}
		go io.Copy(s.log, reader)
	}
	ended, err := s.begin(command, command.Start)
	if err != nil {
		return fmt.Errorf("the server does not start: %w", err)
	}
	listening := regexp.MustCompile(`(?m)^Listening at (.*)$`)
	for deadline := time.Now().Add(time.Minute); ; {
		text, changed := s.log.read()
		if match := listening.FindStringSubmatch(text); s.server.ours() && match != nil {
			s.address = match[1]
			return nil
		}
		if !s.server.ours() {
			if conn, err := net.Dial("tcp", s.address); err == nil {
				return conn.Close()
			}
		}
		select {
		case <-ended:
			return fmt.Errorf("the server does not start: %s has ended before it accepted a client at %s.\n%s", command, s.address, s.printed())
		case <-changed:
		case <-time.After(20 * time.Millisecond): // a foreign server does not say when it listens
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not start: nobody has accepted a client at %s for a minute.\n%s", s.address, s.printed())
		}
	}
}

// moduleRoot returns the directory of go.mod, or the working directory.
func moduleRoot() string {
	working, _ := os.Getwd()
	for dir := working; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	return working
}

// freeAddress returns an address of this machine at which nobody listens. Until the
// end of the test no other test gets it: a UDP socket with the same number says that
// it is taken, to other test binaries too. The system gives none of these ports to a
// client by itself.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		taken, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		t.Cleanup(func() { taken.Close() })
		if listener, err := net.Listen("tcp", address); err == nil {
			listener.Close()
			return address
		}
	}
	t.Fatal("there is no free port from 10000 to 29999")
	return ""
}

// program returns a command that is this program.
func (s *service) program(args ...string) *exec.Cmd {
	command := s.limited(append([]string{executable()}, args...))
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

// begin calls start, which starts command, and remembers command until it has
// ended.
func (s *service) begin(command *exec.Cmd, start func() error) (ended chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended = make(chan struct{})
	if s.stopping {
		close(ended)
		return ended, nil
	}
	ownGroup(command)
	command.WaitDelay = 5 * time.Second // a child of the server may keep its standard error
	if err := start(); err != nil {
		return nil, err
	}
	guard("+", command.Process.Pid)
	s.processes[command] = ended
	go func() {
		command.Wait()
		guard("-", command.Process.Pid)
		s.mu.Lock()
		defer s.mu.Unlock()
		state := command.ProcessState
		s.cpu += state.UserTime() + state.SystemTime()
		if !s.stopping && (s.server.Inetd == "" || !state.Success()) {
			s.ends = append(s.ends, state.String())
		}
		delete(s.processes, command)
		close(ended)
	}()
	return ended, nil
}

// signal sends a signal to every process.
func (s *service) signal(signal os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for command := range s.processes {
		deliver(command.Process, signal)
	}
}

// running returns what tells the ends of the processes.
func (s *service) running() (ended []chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, end := range s.processes {
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
	ends := s.running()
	s.signal(signal)
	for _, ended := range ends {
		select {
		case <-ended:
		case <-time.After(s.patience):
			t.Errorf("The server does not end within %v by the signal %v.", s.patience, signal)
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

// expectEnd waits until one process ends by itself, and checks how.
func (s *service) expectEnd(t testing.TB, running []chan struct{}, status int) {
	t.Helper()
	for _, ended := range running {
		select {
		case <-ended:
		case <-time.After(s.patience):
			t.Fatalf("The server should end with status %d; it has not ended for %v.", status, s.patience)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if want := fmt.Sprintf("exit status %d", status); len(s.ends) != 1 || s.ends[0] != want {
		t.Errorf("The server should end once with %s; it ended with %q.", want, s.ends)
	}
	s.ends = nil
}

// quit lets the processes print their stacks and end, one after the other, and
// returns what they have printed.
func (s *service) quit(t testing.TB) string {
	t.Helper()
	s.mu.Lock()
	s.stopping = true
	processes := maps.Clone(s.processes)
	s.mu.Unlock()
	for command, ended := range processes {
		deliver(command.Process, quit)
		select {
		case <-ended:
		case <-time.After(s.patience):
			t.Fatalf("The server does not end within %v by the signal %v.", s.patience, quit)
		}
	}
	s.end(t, os.Kill)
	if s.server.Inetd != "" {
		text, _ := os.ReadFile(s.logFile)
		return string(text)
	}
	text, _ := s.log.read()
	return text
}

// stop stops the server at the end of a test, and tells what else it has done.
func (s *service) stop(t testing.TB) {
	t.Helper()
	if s.stopping {
		return
	}
	s.end(t, os.Kill)
	for _, end := range s.ends {
		t.Errorf("The server has ended: %s.", end)
	}
	text, _ := s.log.read()
	if s.server.ours() && strings.Contains(text, "<nil>") {
		t.Error("A line of the log has a client without an address.")
	}
	if s.server.ours() && strings.Contains(strings.ToLower(text), "goroutine ") && !strings.Contains(text, "on purpose") {
		t.Errorf("There is a stack trace in the log:\n%.4000s", text)
	}
	if t.Failed() {
		t.Log(s.printed())
	}
}

// printed returns the last lines that the server has printed.
func (s *service) printed() string {
	text, _ := s.log.read()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if text == "" {
		return "The server has printed nothing."
	}
	first := len(lines) - 10
	for i, line := range lines { // a traceback is shown whole
		if strings.HasPrefix(line, "Traceback") {
			first = min(i, len(lines)-10)
		}
	}
	lines = lines[max(0, first, len(lines)-40):]
	for i, line := range lines {
		lines[i] = fmt.Sprintf("    %.200s", line)
	}
	return "The server has printed, at the end:\n" + strings.Join(lines, "\n")
}

// memory returns the bytes of memory of all processes of the server. It is not ok
// if the system does not tell.
func (s *service) memory(t testing.TB) (bytes int, ok bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for command := range s.processes {
		n, err := residentMemory(command.Process.Pid)
		if err != nil {
			t.Logf("SKIPPED in part: how much memory the server has: %v", err)
			return 0, false
		}
		bytes += n
	}
	return bytes, true
}

// residentMemory asks Linux's /proc, and ps elsewhere.
func residentMemory(pid int) (bytes int, err error) {
	if _, err := os.Stat("/proc/self/status"); err == nil {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if match := regexp.MustCompile(`VmRSS:\s*(\d+) kB`).FindSubmatch(status); match != nil {
			bytes, _ = strconv.Atoi(string(match[1]))
		}
		return bytes << 10, nil // 0 if the process has just ended
	}
	output, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("there is no /proc to tell it, and %w", err)
	}
	kilobytes, err := strconv.Atoi(strings.TrimSpace(string(output)))
	return kilobytes << 10, err
}

// checkGrowth fails if the server has much more memory than before.
func (s *service) checkGrowth(t testing.TB, before int) {
	t.Helper()
	limit := 64 << 20
	if raceDetector {
		limit *= 8
	}
	if now, ok := s.memory(t); ok && now-before > limit {
		t.Errorf("The memory of the server has grown from %d to %d MiB; at most %d MiB more are expected.", before>>20, now>>20, limit>>20)
	}
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
func (s *service) await(t testing.TB, pattern string) []string {
	t.Helper()
	return s.awaitTimes(t, 1, pattern)
}

// awaitTimes waits until n lines match, and returns the submatches of the last.
// Only a log in which nothing changes ends the wait.
func (s *service) awaitTimes(t testing.TB, n int, pattern string) []string {
	t.Helper()
	expression := regexp.MustCompile("(?m)" + pattern)
	for {
		text, changed := s.log.read()
		matches := expression.FindAllStringSubmatch(text, n)
		if len(matches) == n {
			return matches[n-1]
		}
		select {
		case <-changed:
		case <-time.After(s.patience):
			t.Fatalf("The log should have %d lines that match %s; it has %d, and nothing was logged for %v.", n, pattern, len(matches), s.patience)
		}
	}
}
