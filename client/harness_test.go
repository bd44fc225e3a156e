package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A server is a row of the test table: a program, how many clients at once it
// serves, and for how many it can think at once.
type server struct {
	name     string
	atOnce   int
	thinking int
}

const anyNumber = 1 << 20 // as many clients as there are descriptors

// servers has the programs that this platform builds.
var servers = slices.DeleteFunc([]server{
	{"srv_single", 1, 1},
	{"srv_threaded", 4, 4},
	{"srv_legacy", anyNumber, anyNumber},
	{"srv_async", anyNumber, 1},
	{"srv_asyncio1", anyNumber, 1},
	{"srv_asyncio2", anyNumber, 1},
	{"srv_asyncore", anyNumber, 1},
	{"in_zen1", anyNumber, anyNumber},
	{"in_zen2", 1, 1},
}, func(s server) bool {
	return runtime.GOOS == "windows" && (strings.HasPrefix(s.name, "srv_async") || s.underInetd())
})

// row returns the row of a program.
func row(name string) server {
	for _, server := range servers {
		if server.name == name {
			return server
		}
	}
	panic(name)
}

// underInetd says whether the program has to be started by an inetd.
func (s server) underInetd() bool { return strings.HasPrefix(s.name, "in_zen") }

// processEach says whether each client has a process of its own.
func (s server) processEach() bool { return s.name == "in_zen1" }

// patience is how long a test waits for what must happen before it fails, and
// quiet how long it watches for what must not.
const (
	patience = 30 * time.Second
	quiet    = 300 * time.Millisecond
)

// bin is the folder of the programs under test.
var bin string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if bin, err = os.MkdirTemp("", "zen"); err != nil {
			log.Fatal(err)
		}
		defer os.RemoveAll(bin)
		os.Setenv("GORACE", "atexit_sleep_ms=0") // or each client takes a second to end
		if err := build(bin); err != nil {
			log.Print(err)
			return 1
		}
		return m.Run()
	}())
}

// build compiles every program into dir, with the race detector if the tests
// have it too.
func build(dir string, flags ...string) error {
	args := []string{"build", "-o", dir + string(filepath.Separator),
		"-ldflags", "-X fopnp/chapter07/zen.LogFile=zen.log"} // in the folder that inetd starts it in
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "-race" {
				args = append(args, "-race="+setting.Value)
			}
		}
	}
	output, err := exec.Command("go", append(append(args, flags...), "fopnp/chapter07/...")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, output)
	}
	return nil
}

// rebuild compiles every program with each old text replaced by the new one that
// follows it in a file, as a reader does who tries something, and returns the
// folder they are in.
func rebuild(t testing.TB, file string, oldnew ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	path, err := filepath.Abs(filepath.Join("..", file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(oldnew); i += 2 {
		if strings.Count(string(source), oldnew[i]) != 1 {
			t.Fatalf("%s does not say %q once", file, oldnew[i])
		}
	}
	edited, overlay := filepath.Join(dir, "edited.go"), filepath.Join(dir, "overlay.json")
	mapping, _ := json.Marshal(map[string]any{"Replace": map[string]string{path: edited}})
	os.WriteFile(edited, []byte(strings.NewReplacer(oldnew...).Replace(string(source))), 0o644)
	os.WriteFile(overlay, mapping, 0o644)
	if err := build(dir, "-overlay", overlay); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rebuildPanicking compiles programs that panic when they are asked "Panic?".
func rebuildPanicking(t testing.TB) (dir string) {
	t.Helper()
	return rebuild(t, "zen/zen.go", "time.Sleep(ThinkingTime)", `if string(question) == "Panic?" { panic("on purpose") }`)
}

// program returns the path of a program in dir.
func program(dir, name string) string {
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(dir, name)
}

// A lineLog keeps the lines written to it, for a test to wait for.
type lineLog struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed and replaced at every write
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

// read returns all lines so far, and a channel that is closed when there is more.
func (l *lineLog) read() (string, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String(), l.changed
}

// await waits until the log has a match of pattern, and returns its submatches.
func (l *lineLog) await(t testing.TB, pattern string) []string {
	t.Helper()
	return l.awaitTimes(t, 1, pattern)
}

// awaitTimes waits until pattern has matched n times, and returns the last match.
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
			t.Fatalf("the log does not say %d times %q:\n%.2000s", n, pattern, text)
		}
	}
}

// A service is a running server: a process, or an inetd that starts some.
type service struct {
	server
	address string
	log     *lineLog
	dir     string // that it was started in

	mu        sync.Mutex
	processes map[*exec.Cmd]chan struct{} // running; closed when it has ended
	used      time.Duration               // processor time of those that have ended
	ending    bool                        // the test is over, or has ended it
	failures  []string
	stopInetd func()
}

// start starts server on a free port, waits until it listens, and ends it with
// the test. A server that has ended before, or whose log has a stack trace (a
// data race leaves one too), fails the test. The command line wrap, if any, runs
// it.
func start(t testing.TB, server server, wrap ...string) *service {
	t.Helper()
	return startProgram(t, server, program(bin, server.name), wrap...)
}

func startProgram(t testing.TB, server server, path string, wrap ...string) *service {
	t.Helper()
	args := append(slices.Clone(wrap), path)
	s := newService(t, server)
	if server.underInetd() {
		s.startInetd(t, args...)
		return s
	}
	s.run(t, append(args, "-p", "0", "127.0.0.1")...)
	s.address = s.log.await(t, `^Listening at (.*)$`)[1]
	return s
}

func newService(t testing.TB, server server) *service {
	s := &service{server: server, log: newLineLog(), dir: t.TempDir(), processes: map[*exec.Cmd]chan struct{}{}}
	t.Cleanup(func() { s.stop(t) })
	return s
}

// run starts the server's command line.
func (s *service) run(t testing.TB, args ...string) {
	t.Helper()
	command := exec.Command(args[0], args[1:]...)
	command.Stderr = s.log
	if _, err := s.begin(command); err != nil {
		t.Fatal(err)
	}
}

// begin starts command and keeps an eye on it.
func (s *service) begin(command *exec.Cmd) (ended chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended = make(chan struct{})
	if s.ending {
		close(ended)
		return ended, nil
	}
	command.Dir = s.dir
	if err := command.Start(); err != nil {
		return nil, err
	}
	s.processes[command] = ended
	go func() {
		command.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		state := command.ProcessState
		s.used += state.UserTime() + state.SystemTime()
		if !s.ending && (!s.underInetd() || !state.Success()) {
			s.failures = append(s.failures, fmt.Sprintf("%s has ended: %v", s.name, state))
		}
		delete(s.processes, command)
		close(ended)
	}()
	return ended, nil
}

// signal sends a signal to every process of the server.
func (s *service) signal(signal os.Signal) (ended []chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for command, end := range s.processes {
		command.Process.Signal(signal)
		ended = append(ended, end)
	}
	return ended
}

// end ends the server, which must have lived until now, with signal, and returns
// the processor time that it has used.
func (s *service) end(signal os.Signal) time.Duration {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	for _, ended := range s.signal(signal) {
		<-ended
	}
	if s.stopInetd != nil {
		s.stopInetd()
		s.stopInetd = nil
	}
	return s.used
}

// awaitEnd waits until the server has ended by itself, with status.
func (s *service) awaitEnd(t testing.TB, status int) {
	t.Helper()
	for _, ended := range s.signal(syscall.Signal(0)) {
		<-ended
	}
	want := fmt.Sprintf("%s has ended: exit status %d", s.name, status)
	if len(s.failures) != 1 || s.failures[0] != want {
		t.Errorf("%q, want %q", s.failures, want)
	}
	s.failures = nil
}

func (s *service) stop(t testing.TB) {
	t.Helper()
	s.end(os.Kill)
	for _, failure := range s.failures {
		t.Error(failure)
	}
	if text, _ := s.log.read(); strings.Contains(text, "goroutine ") && !strings.Contains(text, "on purpose") {
		t.Errorf("%s has a stack trace in its log:\n%.4000s", s.name, text)
	}
}

// connect returns a connection to the server, closed with the test.
func (s *service) connect(t testing.TB) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return conn.(*net.TCPConn)
}

// send writes to a client's connection.
func send(t testing.TB, conn net.Conn, data string) {
	t.Helper()
	if _, err := io.WriteString(conn, data); err != nil {
		t.Fatal(err)
	}
}

// expect reads the answer want.
func expect(t testing.TB, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); string(got) != want {
		t.Fatalf("read %.200q, %v; want %.200q", got[:n], err, want)
	}
}

const question, answer = "Simple is better than?", "Complex."

// ask asks a question and reads its answer.
func ask(t testing.TB, conn net.Conn) {
	t.Helper()
	send(t, conn, question)
	expect(t, conn, answer)
}

// expectNothing fails if the server sends anything, or closes, for a while.
func expectNothing(t testing.TB, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(quiet))
	n, err := conn.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want to wait", n, err)
	}
	conn.SetReadDeadline(time.Now().Add(2 * patience))
}

// serveOne connects, asks, leaves, and waits until the server has noticed.
func (s *service) serveOne(t testing.TB) {
	t.Helper()
	conn := s.connect(t)
	ask(t, conn)
	conn.CloseWrite()
	if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
		t.Fatalf("read %q, %v; want the end", rest, err)
	}
	conn.Close()
}

// eachServer runs test once for every row of the table.
func eachServer(t *testing.T, test func(t *testing.T, server server)) {
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) { test(t, server) })
	}
}
