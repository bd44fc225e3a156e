package zentest

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// The environment variables that tell a test binary what to be.
const (
	programVariable  = "ZENTEST_PROGRAM"  // "1": the program; "nowait" or "wait": inetd, which starts the program
	thinkingVariable = "ZENTEST_THINKING" // the program, with this zen.ThinkingTime
)

// Main is for TestMain. It runs the tests, or main if a test has started this
// binary as the program.
func Main(m *testing.M, main func()) {
	mode := os.Getenv(programVariable)
	if mode == "" {
		flag.Parse()
		parallel := flag.Lookup("test.parallel")
		if descriptorLimit() < 2000 {
			parallel.Value.Set("1") // the clients of several rules need more
		} else if parallel.Value.String() == parallel.DefValue {
			parallel.Value.Set("8") // most of them wait most of the time
		}
		os.Exit(m.Run())
	}
	endWithoutParent()
	if mode != "1" {
		beInetd(mode)
	}
	obeySignals()
	// Package testing has put its flags among the program's.
	flag.CommandLine = flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	zen.ThinkingTime, _ = time.ParseDuration(os.Getenv(thinkingVariable))
	main()
	os.Exit(0)
}

// Program returns a command that starts this test binary as the program.
func Program(args ...string) *exec.Cmd {
	path, _ := os.Executable() // if this fails, so does Start
	command := exec.Command(path, args...)
	command.Args[0] = programName()
	command.Env = append(os.Environ(), programVariable+"=1", "GORACE=atexit_sleep_ms=0 halt_on_error=1") // a race ends the program
	endWithParent(command)
	return command
}

// tested returns the package under test, as in a command for go: ./srv_async.
func tested() string {
	info, _ := debug.ReadBuildInfo()
	return "." + strings.TrimSuffix(strings.TrimPrefix(info.Path, info.Main.Path), ".test")
}

// programName returns the name of the program that this test binary is.
func programName() string { return filepath.Base(tested()) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A Result is how a program has ended.
type Result struct {
	Stdout, Stderr string // what it has printed
	Log            string // what is in its log file
	Status         int
}

// Run runs command, which is from [Program], to its end.
func Run(t testing.TB, command *exec.Cmd) Result {
	t.Helper()
	path := t.TempDir() + "/zen.log"
	command.Env = append(command.Env, "ZEN_LOG="+path)
	var stdout, stderr strings.Builder
	if command.Stdout == nil {
		command.Stdout = &stdout
	}
	command.Stderr = &stderr
	must(t, command.Start())
	command.Wait()
	lines, _ := os.ReadFile(path)
	return Result{stdout.String(), stderr.String(), string(lines), command.ProcessState.ExitCode()}
}

// A service is a running server: a process, and those that it has started.
type service struct {
	Server
	command *exec.Cmd
	log     string      // the file of what it prints
	ended   atomic.Bool // command has ended
	stopped bool        // the test has ended it
}

// start starts a server, waits until it listens, and stops it at the end of the
// test. The test fails if the server ends before.
func start(t testing.TB, server Server) *service {
	t.Helper()
	if server.address == "" && !server.ours() {
		server.address = freeAddress(t)
	}
	s := &service{Server: server, log: t.TempDir() + "/zen.log"}
	s.command = s.newCommand()
	output, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(t, err)
	defer output.Close()
	s.command.Stdout, s.command.Stderr = output, output
	must(t, s.command.Start())
	go func() {
		s.command.Wait()
		s.ended.Store(true)
	}()
	t.Cleanup(func() { s.stop(t) })
	if server.ours() {
		s.address = s.await(t, `^(?:inetd: )?Listening at (\S+)`)[1]
	} else {
		limit := max(s.patience(), time.Minute) // some languages start slowly, and print nothing
		s.awaitThat(t, limit, "The server should listen at "+s.address, func() bool {
			conn, err := net.DialTimeout("tcp", s.address, time.Second)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
	}
	return s
}

// newCommand returns the command that starts the server.
func (s *service) newCommand() (command *exec.Cmd) {
	host, port, _ := net.SplitHostPort(cmp.Or(s.address, "127.0.0.1:0"))
	switch {
	case s.Inetd != "":
		command = Program()
		command.Env = append(command.Env, programVariable+"="+s.Inetd, "ZEN_LOG="+s.log)
	case s.ours():
		command = Program("-p", port, host)
	default:
		var words []string
		for _, word := range s.Command {
			words = append(words, strings.NewReplacer("{host}", host, "{port}", port).Replace(word))
		}
		command = exec.Command(words[0], words[1:]...)
		command.Dir, command.Env = "../..", os.Environ() // the top of the repository
		endWithParent(command)
	}
	if s.environment != "" {
		command.Env = append(command.Env, s.environment)
	}
	if s.script != "" && hasShell {
		command.Args = append([]string{"sh", "-c", s.script, s.log + ".pipe", command.Path}, command.Args[1:]...)
		command.Path = "/bin/sh"
	}
	return command
}

// freeAddress returns an unused address. Its port is outside the ranges from which Linux,
// macOS and Windows choose the port of a client. A UDP socket at the same port keeps other
// tests from it until this test ends.
func freeAddress(t testing.TB) string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		lock, err := net.ListenPacket("udp", address)
		if err != nil {
			continue
		}
		t.Cleanup(func() { lock.Close() })
		// To listen and close would not free it at once: a program that starts meanwhile
		// has a copy of the listener for a moment.
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return address
		}
		conn.Close()
	}
}

// printed returns what the server has printed until now.
func (s *service) printed() string {
	text, _ := os.ReadFile(s.log)
	return string(text)
}

// await waits until a line of what the server prints matches, and returns the match and
// its groups.
func (s *service) await(t testing.TB, pattern string) (match []string) {
	t.Helper()
	expression := regexp.MustCompile("(?m)" + pattern)
	s.awaitThat(t, s.patience(), "The log should have a line that matches "+pattern, func() bool {
		match = expression.FindStringSubmatch(s.printed())
		return match != nil
	})
	return match
}

// awaitEnd waits until the server has ended, ends all that it has started, and returns how
// it has ended.
func (s *service) awaitEnd(t testing.TB, why string) string {
	t.Helper()
	s.awaitThat(t, s.patience(), "The server should end "+why, s.ended.Load)
	s.stopped = true
	deliver(s.command.Process, os.Kill)
	return s.command.ProcessState.String()
}

// awaitThat waits until happens returns true. It fails if the server has ended before, or
// if that takes longer than limit.
func (s *service) awaitThat(t testing.TB, limit time.Duration, what string, happens func() bool) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		ended := s.ended.Load()
		switch {
		case happens():
			return
		case ended:
			t.Fatalf("%s, and the server has ended.", what)
		case time.Since(began) > limit:
			t.Fatalf("%s%s.", what, nothingFor(limit))
		}
	}
}

// nothingFor says how long the suite has waited.
func nothingFor(limit time.Duration) string {
	return fmt.Sprintf(", then nothing happened for %v (if the machine is busy: -patience %v)", limit, 6*limit)
}

// unexpected is what no server of this repository prints: a stack trace, a client without
// an address, and, under inetd, an exit with an error.
var unexpected = regexp.MustCompile(`(?m)^(goroutine \d|panic:|fatal error|inetd: Ended process .*: (exit status [^0]|signal)).*$|<nil>`)

// stop stops the server at the end of a test. It says if the server has ended before,
// and what it has printed if the test has failed.
func (s *service) stop(t testing.TB) {
	t.Helper()
	text := s.printed()
	if !s.stopped {
		killed := "signal: killed"
		if runtime.GOOS == "windows" {
			killed = "exit status 1"
		}
		// If it has ended before, its state tells how, and not this signal.
		deliver(s.command.Process, os.Kill)
		if state := s.awaitEnd(t, "by the signal killed"); state != killed {
			t.Errorf("The server has ended: %s.", state)
		}
		if line := unexpected.FindString(text); line != "" && s.ours() && !strings.Contains(text, "SIGQUIT") {
			t.Errorf("It should not print %q.", line)
		}
	}
	if t.Failed() {
		t.Logf("The server has printed, at the end:\n%s", cmp.Or(text[max(0, len(text)-2000):], "nothing"))
	}
}
