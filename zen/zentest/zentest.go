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
// A server in any language can be held to the rules. Its command may have quotes.
// Paths in it start at the top of this repository:
//
//	go test ./zen/zentest -run Any -server 'python3 srv_threaded.py -p {port} {host}' -at-once 4
//
// At each step a client waits ten seconds for such a server; -patience 1m gives a
// slow one more.
//
// # Rules
//
// The conversation (conversation.go):
//   - Answers: Each question is answered, in order.
//   - Framing: How the bytes are cut up on their way changes nothing.
//   - LongestQuestion: A question of 4096 bytes is answered. After a longer one the server hangs up.
//   - HalfClose: A client that closes its side gets every answer that it is owed, and then the end.
//   - OwnAnswers: Each client gets its own answers, whoever has just left and whichever listener accepts it.
//
// Hostile clients (hostile.go):
//   - EndlessQuestion: A question without an end takes no memory: the server hangs up.
//   - HangUp: When the server hangs up on a client that is still sending, the client gets the answers sent before.
//   - Reset: A reset ends one client, and never the server.
//   - NeverReads: The server stops reading from a client that does not read its answers. Such a client costs no memory.
//   - SlowReader: A client that reads slowly gets every answer.
//   - Flood: The others get answers while one client floods the server.
//
// Limits (limits.go):
//   - Descriptors: Out of descriptors, the server keeps serving its clients. It accepts new ones when descriptors are free.
//   - NoLeak: A client that has left leaves no descriptor behind.
//   - NoSpin: A server that has nothing to do uses no processor time.
//   - Memory: When a client falls silent, the server frees its buffers.
//
// The process (process.go):
//   - Signals: Signals that do not concern the server change nothing.
//   - Stop: A server that is stopped or killed leaves its port to the next one.
//   - Log: Every client leaves the same two lines in the log of every server, and cannot forge one.
//   - LogReaderLeaves: When the reader of its log has left, the server goes on.
//   - PermanentError: If the listening socket is destroyed, the server ends at once with status 1 and says why.
//
// The command line (commandline.go):
//   - CommandLine: Bad arguments are one clear line and the right exit status.
//   - Hosts: An empty host is every interface.
//
// The architecture (architecture.go):
//   - AtOnce: The server serves as many clients at once as its architecture allows. One more waits until a client leaves.
//   - ThinkingTime: The server thinks for as many clients at once as its architecture allows.
//   - WhoWaits: The README's picture is what happens.
//   - WhereItWaits: The README's table of stacks is what happens.
//
// Under inetd (underinetd.go):
//   - NothingButAnswers: Under inetd nothing but answers reaches a client, whatever the log file is and whatever goes wrong.
//
// A rule is left out if it does not apply. The rules about the log, the command
// line and the architecture are for the servers of this repository alone.
package zentest

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Server says what is under test, and what its architecture can do.
type Server struct {
	AtOnce   int      // how many clients it serves at once; 0 is any number
	Thinking int      // for how many clients it can think at once; 0 is any number
	Inetd    string   // "nowait" or "wait" if inetd starts it
	Command  []string // starts a server other than this program; {host} and {port} are replaced

	environment []string      // more variables for its environment
	patience    time.Duration // how long a client waits at each step for what must happen; 0 is the default
	quiet       time.Duration // how long it watches for what must not happen; 0 is the default
}

// ours reports whether the server is one of this repository.
func (s Server) ours() bool { return s.Command == nil }

// atLeast reports whether the server serves n clients at once.
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

// A rule is one promise of the service.
type rule struct {
	name    string
	promise string
	mend    string                   // where to look if a server breaks it
	applies func(server Server) bool // nil if to every server
	check   func(t testing.TB, server Server)
}

var rules = []rule{
	answers, framing, longestQuestion, halfClose, ownAnswers,
	endlessQuestion, hangUp, resets, neverReads, slowReader, flood,
	descriptors, noLeak, noSpin, memory,
	signals, stop, logLines, logReaderLeaves, permanentError,
	commandLine, hosts,
	atOnce, thinkingTime, whoWaits, whereItWaits,
	nothingButAnswers,
}

func listens(s Server) bool      { return s.Inetd == "" }
func ourCommand(s Server) bool   { return s.ours() && s.Inetd == "" }
func inOneProcess(s Server) bool { return s.Inetd != "nowait" }
func unlimited(s Server) bool    { return s.AtOnce == 0 && s.Inetd == "" }

func (r rule) appliesTo(server Server) bool { return r.applies == nil || r.applies(server) }

// Test holds server to every rule that applies to it, and reports each rule as a
// subtest. A server that does not start is one failure.
func Test(t *testing.T, server Server) {
	t.Parallel()
	if server.Inetd != "" {
		skipOnWindows(t, "there is no inetd")
	} else if first, err := launch(t, server, options{}); err == nil {
		first.stop(t)
	} else if server.ours() && strings.Contains(err.Error(), "epoll") {
		t.Skipf("SKIPPED on %s: this program needs epoll or kqueue", runtime.GOOS)
	} else {
		t.Fatal(err)
	}
	trials := make([]*trial, len(rules))
	t.Cleanup(func() { t.Log(summary(trials)) })
	for i, rule := range rules {
		if !rule.appliesTo(server) {
			continue
		}
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			trial := rule.try(t, server)
			trials[i] = trial
			text := strings.Join(append([]string{rule.promise}, trial.said...), "\n")
			switch {
			case trial.failed:
				t.Errorf("%s\nTo mend it: %s", text, rule.mend)
			case trial.skipped:
				t.Skip(text)
			default:
				t.Log(text)
			}
		})
	}
}

// summary says which rules are broken, in the order of the rules: the later ones
// often follow from the first.
func summary(trials []*trial) string {
	var kept int
	var broken []string
	for i, trial := range trials {
		switch {
		case trial == nil || trial.skipped:
		case trial.failed:
			broken = append(broken, rules[i].name)
		default:
			kept++
		}
	}
	text := fmt.Sprintf("%d rules are kept, %d are broken", kept, len(broken))
	if len(broken) > 0 {
		text += fmt.Sprintf(": %s. Mend %s first: the others may follow from it", strings.Join(broken, ", "), broken[0])
	}
	return text + "."
}

// A trial is a testing.TB for one rule and one server. It keeps what the rule
// says, because rules run side by side, and each prints its text in one piece.
type trial struct {
	testing.TB
	mu              sync.Mutex
	said            []string
	failed, skipped bool
	cleanups        []func()
}

// try holds server to the rule.
func (r rule) try(t testing.TB, server Server) *trial {
	trial := &trial{TB: t}
	done := make(chan struct{})
	go func() { // FailNow and SkipNow end the goroutine
		defer close(done)
		defer func() {
			for i := len(trial.cleanups) - 1; i >= 0; i-- {
				trial.cleanups[i]()
			}
		}()
		r.check(trial, server)
	}()
	<-done
	return trial
}

func (t *trial) say(failed bool, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = t.failed || failed
	t.said = append(t.said, text)
}

// fatal ends the goroutine. Of several that fail, the first says enough.
func (t *trial) fatal(text string) {
	if !t.Failed() {
		t.say(true, text)
	}
	runtime.Goexit()
}

func (t *trial) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *trial) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *trial) Helper()                           {}
func (t *trial) Log(args ...any)                   { t.say(false, fmt.Sprint(args...)) }
func (t *trial) Logf(format string, args ...any)   { t.say(false, fmt.Sprintf(format, args...)) }
func (t *trial) Error(args ...any)                 { t.say(true, fmt.Sprint(args...)) }
func (t *trial) Errorf(format string, args ...any) { t.say(true, fmt.Sprintf(format, args...)) }
func (t *trial) Fatal(args ...any)                 { t.fatal(fmt.Sprint(args...)) }
func (t *trial) Fatalf(format string, args ...any) { t.fatal(fmt.Sprintf(format, args...)) }
func (t *trial) Skip(args ...any)                  { t.skipped = true; t.Log(args...); runtime.Goexit() }

func skipOnWindows(t testing.TB, why string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED on Windows: " + why)
	}
}
