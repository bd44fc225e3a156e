package zentest

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// The environment variables that tell a test binary what to be.
const (
	guardVariable     = "ZENTEST_GUARD"     // the guardian
	runVariable       = "ZENTEST_RUN"       // the program
	thinkingVariable  = "ZENTEST_THINKING"  // with this zen.ThinkingTime, for a program without flags
	logVariable       = "ZENTEST_LOG"       // with this zen.LogFile
	panicVariable     = "ZENTEST_PANIC"     // panic after a log line that matches
	destroyVariable   = "ZENTEST_DESTROY"   // destroy the listening socket after such a line
	impatientVariable = "ZENTEST_IMPATIENT" // call impatient in place of main
)

// Main is for TestMain. It runs the tests, or main if a test has started this
// binary as the program.
func Main(m *testing.M, main func()) {
	switch {
	case os.Getenv(guardVariable) != "":
		beGuardian()
	case os.Getenv(runVariable) != "":
		beProgram(main)
	default:
		flag.Parse()
		parallel := flag.Lookup("test.parallel")
		switch {
		case descriptorLimit() < 2000:
			parallel.Value.Set("1") // the clients of several rules need more
		case parallel.Value.String() == parallel.DefValue:
			parallel.Value.Set("16") // most of them wait most of the time
		}
		os.Exit(m.Run())
	}
	os.Exit(0)
}

func beProgram(main func()) {
	permitAll()
	// Package testing has put its flags among the program's.
	flag.CommandLine = flag.NewFlagSet(os.Args[0], flag.ExitOnError)
	if thinking, err := time.ParseDuration(os.Getenv(thinkingVariable)); err == nil {
		zen.ThinkingTime = thinking
	}
	if path := os.Getenv(logVariable); path != "" {
		zen.LogFile = path
	}
	after(panicVariable, func() { panic("on purpose") })
	after(destroyVariable, func() { go destroyListeners() })
	if timeout, err := time.ParseDuration(os.Getenv(impatientVariable)); err == nil {
		impatient(timeout)
		return
	}
	main()
}

// after calls f when a line is logged that matches the value of variable.
func after(variable string, f func()) {
	if pattern := os.Getenv(variable); pattern != "" {
		log.SetOutput(&trigger{log.Writer(), regexp.MustCompile(pattern), f})
	}
}

type trigger struct {
	io.Writer
	pattern *regexp.Regexp
	action  func()
}

func (t *trigger) Write(line []byte) (int, error) {
	n, err := t.Writer.Write(line)
	if t.pattern.Match(line) {
		t.action()
	}
	return n, err
}

func executable() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// programName returns the name of the program that this test binary is.
func programName() string {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	return strings.TrimSuffix(name, ".test")
}

// Serve runs a server, which calls handle in a goroutine for each client, until the
// end of the test. It returns the server's host and port.
func Serve(t testing.TB, handle func(conn net.Conn)) (host, port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	host, port, _ = net.SplitHostPort(listener.Addr().String())
	return host, port
}

// A Result is how a program has ended.
type Result struct {
	Stdout, Stderr string // what it has printed
	Log            string // what is in its log file
	Status         int
}

// Run runs the program with arguments to its end. Prepare may change the command
// before it starts, or may be nil.
func Run(t testing.TB, prepare func(command *exec.Cmd), args ...string) Result {
	t.Helper()
	return Server{}.run(t, prepare, args...)
}

func (server Server) run(t testing.TB, prepare func(command *exec.Cmd), args ...string) Result {
	t.Helper()
	path := t.TempDir() + "/zen.log"
	s := &service{server: server, options: options{environment: []string{logVariable + "=" + path}}}
	command := s.program(args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if prepare != nil {
		prepare(command)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	guard("+", command.Process.Pid)
	defer guard("-", command.Process.Pid)
	watchdog := time.AfterFunc(time.Minute, func() { command.Process.Kill() })
	command.Wait()
	if !watchdog.Stop() {
		t.Fatalf("%s %q has not ended for a minute.", programName(), args)
	}
	lines, _ := os.ReadFile(path)
	return Result{stdout.String(), stderr.String(), string(lines), command.ProcessState.ExitCode()}
}

// guard tells the guardian of a process: "+" when it starts, "-" when it has
// ended. The guardian is a process that ends those that are left when this one is
// killed: it then reads the end of its standard input.
func guard(change string, pid int) {
	guardian.Do(func() {
		command := exec.Command(executable())
		command.Env = append(os.Environ(), guardVariable+"=1")
		ownGroup(command)
		pipe, err := command.StdinPipe()
		if err == nil {
			err = command.Start()
		}
		if err != nil {
			panic(err)
		}
		guardianInput = pipe
	})
	fmt.Fprintf(guardianInput, "%s %d\n", change, pid)
}

var (
	guardian      sync.Once
	guardianInput io.Writer
)

func beGuardian() {
	signal.Ignore(os.Interrupt)
	running := map[int]bool{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var change string
		var pid int
		fmt.Sscan(lines.Text(), &change, &pid)
		running[pid] = change == "+"
	}
	for pid, runs := range running {
		if process, err := os.FindProcess(pid); err == nil && runs {
			deliver(process, os.Kill)
		}
	}
}
