// Package zentest holds a server to the rules of the Zen-of-Python service. It
// starts the server, talks to it and attacks it over sockets, and reports each
// rule that the server breaks by name.
//
// The test of a program is four lines beside it:
//
//	func TestMain(m *testing.M)        { zentest.Main(m, main) }
//	func TestServer(t *testing.T)      { zentest.Test(t, server) }
//	func BenchmarkServer(b *testing.B) { zentest.Benchmark(b, server) }
//
//	var server = zentest.Server{AtOnce: 1}
//
// The test binary is the program: a test starts its own binary again with an
// environment variable, and Main then calls main. So a test needs no compiler, and
// the race detector watches the server too.
//
// A server in any language can be held to the rules, see README.md. The rules are in
// five lists, each in a file of its own; go test -v prints them.
//
// The suite waits for the server, and for time only if a rule is about time. What must
// happen is an event: a byte, or a line of the log. What must not happen is judged when
// the server rests, see [service.rests].
package zentest

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen/listening"
)

// A Server says what is under test, and what its architecture can do.
type Server struct {
	AtOnce  int      // how many clients it serves at once; 0 is any number
	Inetd   string   // "nowait" or "wait" if inetd starts it
	Command []string // starts a server other than this program; {host} and {port} are replaced

	// A rule may set these before it starts the server.
	environment string // one variable more, as name=value
	address     string // where to listen; "" is a free port of 127.0.0.1
	script      string // for sh: starts the command "$@"; $0 is a path for its own use. Windows has no sh
}

// A rule is one promise of the service.
type rule struct {
	name    string
	promise string
	mend    string                   // where to look if a server breaks it
	applies func(server Server) bool // nil if to every server
	check   func(t *testing.T, server Server)
}

// rules are in the order in which one mends them. If a server breaks the first, the
// others are not tried.
var rules = slices.Concat(conversationRules, hostileRules, resourceRules, programRules, unixRules)

// ours reports whether the server is one of this repository.
func (s Server) ours() bool { return s.Command == nil }

// some returns how many of n clients the server serves at once. It and the suite need a
// descriptor for each, and some more.
func (s Server) some(n int) int {
	n = min(n, descriptorLimit()-56)
	if s.Inetd == "nowait" {
		n = min(n, 12) // each client starts a process
	}
	if s.AtOnce > 0 {
		n = min(n, s.AtOnce)
	}
	return n
}

func listens(s Server) bool   { return s.Inetd == "" }
func several(s Server) bool   { return s.AtOnce != 1 }
func unlimited(s Server) bool { return s.AtOnce == 0 && s.Inetd == "" }

var patience = flag.Duration("patience", 0, "how long a client waits at each step for what must happen (default 1m for a server of this repository, 10s for others)")

func (s Server) patience() time.Duration {
	switch {
	case *patience > 0:
		return *patience
	case s.ours():
		return time.Minute
	}
	return 10 * time.Second
}

// Test holds server to every rule that applies to it. Each is a subtest.
func Test(t *testing.T, server Server) {
	t.Parallel()
	if server.ours() && listening.Missing != nil {
		t.Skip("SKIPPED: ", listening.Missing)
	}
	if !hasProc() {
		t.Log("SKIPPED in part: only Linux tells whether a server rests or leaks. Memory and PermanentError are not tried, and in place of rest the suite waits for half a second. On Windows there is no sh: Descriptors, LogReaderLeaves and the rules for Unix are not tried either.")
	}
	broken := make([]string, len(rules)) // their names
	t.Cleanup(func() {                   // all rules have ended
		if names := slices.DeleteFunc(broken, func(name string) bool { return name == "" }); len(names) > 1 {
			t.Logf("Mend %s first; the others may follow from it. Broken are %s.", names[0], strings.Join(names, ", "))
		}
	})
	for i, rule := range rules {
		if rule.applies != nil && !rule.applies(server) {
			continue
		}
		kept := t.Run(rule.name, func(t *testing.T) {
			if i > 0 {
				t.Parallel()
			}
			t.Log(rule.promise)
			t.Cleanup(func() {
				if t.Failed() {
					broken[i] = rule.name
					t.Logf("To mend %s: %s\nTo try this rule again: %s", rule.name, rule.mend, again(t))
				}
			})
			rule.check(t, server)
		})
		if i == 0 && !kept {
			t.Log("The other rules were not tried.")
			return
		}
	}
}

// again returns the command that runs a test again.
func again(t *testing.T) string {
	arguments := []string{"go", "test", tested(), "-run", "'^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$'"}
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			arguments = append(arguments, fmt.Sprintf("-%s '%s'", f.Name, strings.ReplaceAll(f.Value.String(), "'", `'\''`)))
		}
	})
	return strings.Join(arguments, " ")
}
