// Package zentest holds a server to the rules of the Zen-of-Python service. It
// starts the server, talks to it and attacks it over sockets, and reports each
// rule that the server breaks by name.
//
// The test of a program is five lines beside it:
//
//	func TestMain(m *testing.M)          { zentest.Main(m, main) }
//	func TestServer(t *testing.T)        { zentest.Test(t, server) }
//	func BenchmarkServer(b *testing.B)   { zentest.Benchmark(b, server) }
//
//	var server = zentest.Server{AtOnce: 1, Thinking: 1}
//
// The test binary is the program: a test starts its own binary again with an
// environment variable, and Main then calls main. So a test needs no compiler, and
// the race detector watches the server too.
//
// A server in any language can be held to the rules:
//
//	go test ./zen/zentest -run Any -v -server 'python3 srv_threaded.py -p {port} {host}' -at-once 4
package zentest

import (
	"flag"
	"io"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// A Server says what is under test, and what its architecture can do.
type Server struct {
	AtOnce   int      // how many clients it serves at once; 0 is any number
	Thinking int      // for how many clients it can think at once; 0 is any number
	Inetd    string   // "nowait" or "wait" if inetd starts it
	Command  []string // starts a server other than this program; {host} and {port} are replaced

	environment []string // more variables for its environment
}

// ours reports whether the server is one of this repository.
func (s Server) ours() bool { return s.Command == nil }

// atLeast returns whether the server serves n clients at once.
func (s Server) atLeast(n int) bool { return s.AtOnce == 0 || s.AtOnce >= n }

// some returns how many of n clients the server serves at once.
func (s Server) some(n int) int {
	if s.Inetd == "nowait" {
		n = min(n, 12) // each client starts a process
	}
	if s.AtOnce == 0 {
		return n
	}
	return min(n, s.AtOnce)
}

// The environment variables that tell a test binary to be the program, and how.
const (
	runVariable       = "ZENTEST_RUN"       // call main
	thinkingVariable  = "ZENTEST_THINKING"  // set zen.ThinkingTime
	logVariable       = "ZENTEST_LOG"       // set zen.LogFile
	panicVariable     = "ZENTEST_PANIC"     // panic after a log line that matches
	destroyVariable   = "ZENTEST_DESTROY"   // destroy the listening socket after such a line
	impatientVariable = "ZENTEST_IMPATIENT" // call impatient instead of main
)

// Main is for TestMain. It runs the tests, or main if a test has started this
// binary as the program.
func Main(m *testing.M, main func()) {
	if os.Getenv(runVariable) == "" {
		flag.Parse()
		if flag.Lookup("test.parallel").DefValue == flag.Lookup("test.parallel").Value.String() {
			flag.Set("test.parallel", "16") // most of them wait most of the time
		}
		os.Exit(m.Run())
	}
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
	} else {
		main()
	}
	os.Exit(0)
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

// programName returns the name of the program that this test binary is.
func programName() string {
	name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	return strings.TrimSuffix(name, ".test")
}

// Test holds server to every rule that applies to it, and reports each rule as a
// subtest. With -v it prints what each rule promises.
func Test(t *testing.T, server Server) {
	t.Parallel()
	for _, rule := range rules {
		if rule.applies != nil && !rule.applies(server) {
			continue
		}
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			t.Log(rule.promise)
			rule.check(t, server)
		})
	}
}

// A rule is one promise of the service.
type rule struct {
	name    string
	promise string
	check   func(t testing.TB, server Server)
	applies func(server Server) bool // nil if to every server
}

func listens(s Server) bool       { return s.ours() && s.Inetd == "" }
func underInetd(s Server) bool    { return s.Inetd != "" }
func severalAtOnce(s Server) bool { return s.atLeast(2) }

// inOneProcess is for rules about what all clients together need.
func inOneProcess(s Server) bool { return s.Inetd != "nowait" }

// unlimited is for rules that need more clients than some servers serve at once.
func unlimited(s Server) bool { return s.AtOnce == 0 && s.Inetd == "" }

var rules = []rule{
	{"Answers", "Each question is answered, in order.", answers, nil},
	{"Framing", "How the bytes are cut up on their way changes nothing.", framing, nil},
	{"LongestQuestion", "A question of 4096 bytes is answered. After a longer one the server hangs up.", longestQuestion, nil},
	{"EndlessQuestion", "A question without an end takes no memory: the server hangs up.", endlessQuestion, nil},
	{"HalfClose", "A client that closes its side gets every answer that it is owed, and then the end.", halfClose, nil},
	{"HangUp", "When the server hangs up on a client that is still sending, the client gets the answers sent before.", hangUp, nil},
	{"Reset", "A reset ends one client, and never the server.", resets, nil},
	{"NeverReads", "The server stops reading from a client that does not read its answers. Such a client costs no memory.", neverReads, nil},
	{"SlowReader", "A client that reads slowly gets every answer.", slowReader, nil},
	{"AtOnce", "The server serves as many clients at once as its architecture allows. One more waits until a client leaves.", atOnce, nil},
	{"Flood", "The others get answers while one client floods the server.", flood, severalAtOnce},
	{"OwnAnswers", "Each client gets its own answers, even if it gets the descriptor of a client that has just left.", ownAnswers, nil},
	{"Descriptors", "Out of descriptors, the server keeps serving its clients. It accepts new ones when descriptors are free.", descriptors, unlimited},
	{"NoLeak", "A client that has left leaves no descriptor behind.", noLeak, inOneProcess},
	{"NoSpin", "A server that has nothing to do uses no processor time.", noSpin, inOneProcess},
	{"Memory", "When a client falls silent, the server frees its buffers.", memory, func(s Server) bool { return unlimited(s) && !raceDetector }},
	{"Signals", "Signals that do not concern the server change nothing.", signals, nil},
	{"Stop", "A server that is stopped or killed leaves its port to the next one.", stop, func(s Server) bool { return s.Inetd == "" }},
	{"Log", "Every client leaves the same two lines in the log of every server, and cannot forge one.", logLines, Server.ours},
	{"CommandLine", "Bad arguments are one clear line and the right exit status.", commandLine, listens},
	{"Hosts", "An empty host is every interface.", hosts, listens},
	{"PermanentError", "If the listening socket is destroyed, the server ends at once with status 1 and says why.", permanentError, func(s Server) bool { return s.ours() && s.Inetd != "nowait" }},
	{"ThinkingTime", "The server thinks for as many clients at once as its architecture allows.", thinkingTime, Server.ours},
	{"WhoWaits", "The README's picture is what happens.", whoWaits, Server.ours},
	{"NothingButAnswers", "Under inetd nothing but answers reaches a client, whatever the log file is and whatever goes wrong.", nothingButAnswers, underInetd},
}
