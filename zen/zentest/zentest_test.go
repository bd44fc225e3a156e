package zentest

import (
	"errors"
	"flag"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	anyServer   = flag.String("server", "", "the `command` of a server, with {host} and {port}, to hold to the rules")
	anyAtOnce   = flag.Int("at-once", 0, "how many clients that server serves at once; 0 is any number")
	anyPatience = flag.Duration("patience", 10*time.Second, "how long to wait at each step for what must happen")
)

func TestMain(m *testing.M) { Main(m, testServer) }

// TestAny holds the server of the flag -server to the rules. Without the flag it
// holds servers to them that keep every rule, however they are built.
func TestAny(t *testing.T) {
	if *anyServer == "" {
		for _, name := range []string{"flushes 4 KB", "writes each answer by itself", "reads and writes at the same time", "is slow"} {
			t.Run(name, func(t *testing.T) { Test(t, testServerNamed(name)) })
		}
		return
	}
	command, err := words(*anyServer)
	if err != nil {
		t.Fatal(err)
	}
	Test(t, Server{AtOnce: *anyAtOnce, Command: command, patience: *anyPatience})
}

// words splits a command at its spaces. A word in quotes may have spaces.
func words(command string) (words []string, err error) {
	quote, word, started := rune(0), "", false
	for _, r := range command + " " {
		switch {
		case r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, started = r, true
		case quote == 0 && r == ' ':
			if started {
				words = append(words, word)
			}
			word, started = "", false
		default:
			word, started = word+string(r), true
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("-server: a quote is not closed")
	case !strings.Contains(command, "{port}"):
		return nil, errors.New("-server: the command needs {port}, and {host} if the server can have one; the suite replaces them")
	}
	return words, nil
}

func TestWords(t *testing.T) {
	t.Parallel()
	for command, want := range map[string][]string{
		"a -p {port}":                     {"a", "-p", "{port}"},
		` "my server.py"  '' {port}'"' x`: {"my server.py", "", `{port}"`, "x"},
		"a b":                             nil,
		"'a {port}":                       nil,
	} {
		if got, err := words(command); !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("words(%q) = %q, %v; want %q", command, got, err, want)
		}
	}
}

// testServerNamed returns a server of faults_test.go that is started as one in
// another language is.
func testServerNamed(name string) Server {
	return Server{
		Command:     []string{executable(), "-p", "{port}", "{host}"},
		environment: []string{runVariable + "=1", faultVariable + "=" + name},
		patience:    time.Minute, // it is right
	}
}

// For every rule there is a server with a fault that breaks it, and the suite says
// so by the name of that rule, and not because the server does not start.
func TestEveryRuleBites(t *testing.T) {
	bitten := map[string]bool{"WhoWaits": true, "WhereItWaits": true} // see TestPictures and TestPlaces
	for _, fault := range faults {
		bitten[fault.rule] = true
		t.Run(fault.rule+" "+fault.name, func(t *testing.T) {
			t.Parallel()
			if fault.name == "ignores SIGTERM" {
				skipOnWindows(t, "there is no SIGTERM")
			}
			rule := rules[slices.IndexFunc(rules, func(r rule) bool { return r.name == fault.rule })]
			server := fault.server
			server.environment = append(server.environment, faultVariable+"="+fault.name)
			if !rule.appliesTo(server) {
				t.Log("The rule Memory does not apply: the race detector keeps memory for what is freed.")
				return
			}
			var text string
			for _, server.patience = range []time.Duration{4 * time.Second, time.Minute} { // a slow machine needs more
				server.quiet = server.patience / 40
				trial := rule.try(t, server)
				text = strings.Join(trial.said, "\n")
				if trial.skipped {
					t.Skip(text)
				}
				if trial.failed && regexp.MustCompile(fault.says).MatchString(text) {
					t.Log(text)
					return
				}
			}
			t.Errorf("a server that %s should break %s with a failure that matches %q, and there is:\n%s", fault.name, fault.rule, fault.says, text)
		})
	}
	for _, rule := range rules {
		if !bitten[rule.name] {
			t.Errorf("no fault breaks the rule %s", rule.name)
		}
	}
}

// A server of this repository without a fault keeps every rule.
func TestNoFault(t *testing.T) {
	for _, rule := range rules {
		if strings.HasPrefix(rule.name, "Wh") || !rule.appliesTo(Server{}) {
			continue
		}
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			rule.check(t, Server{})
		})
	}
}

// What a server that does not start has printed stands in the only failure.
func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	server := testServerNamed("does not start")
	_, err := launch(t, server, options{})
	if err == nil || !strings.Contains(err.Error(), "does not start") || strings.Count(err.Error(), "No such module") != 1 {
		t.Errorf("the failure is %v", err)
	}
}

// A test binary that is killed takes its servers with it.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	s := start(t, Server{environment: []string{faultVariable + "=is a test that is killed"}}, options{})
	address := s.await(t, `^its server listens at (.*)$`)[1]
	other := &service{server: s.server, address: address, patience: s.patience, quiet: s.quiet, log: s.log}
	c := other.connect(t)
	c.ask()
	s.end(t, os.Kill)
	c.expectHangUp()
}

// The documentation of the package lists the rules, in their order.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "zentest.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, rule := range rules {
		want = append(want, "  - "+rule.name+": "+rule.promise)
	}
	for _, line := range strings.Split(file.Doc.Text(), "\n") {
		if strings.HasPrefix(line, "  - ") {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the package comment lists\n%s\nand the rules are\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A place belongs to the program whose name stands at its left or above it.
func TestPlaces(t *testing.T) {
	t.Parallel()
	got := places("Text\n```console\n$ bin/where bin/*\n" +
		"srv_x         1 IO wait       main\n              3 coroutine     stream.Read\nsrv_y         1 syscall       main\n```\n")
	want := map[string]string{"srv_x": "1 IO wait       main\n3 coroutine     stream.Read\n", "srv_y": "1 syscall       main\n"}
	if !maps.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A picture belongs to the programs that are named above it.
func TestPictures(t *testing.T) {
	t.Parallel()
	const one, two = "A  A------A|\n", "A  A------A|\nB  .B------B|\n"
	got := pictures("Text\n**srv_x, srv_y.** They wait:\n```sh\nls\n```\n```console\n$ watch\nA  its answer comes\n\n" + one +
		"```\nText\n**srv_z.** It does not.\n```console\n$ watch\n" + two + "```\n**A.** Text\n")
	if len(got) != 3 || got["srv_x"] != one || got["srv_y"] != one || got["srv_z"] != two {
		t.Errorf("%q", got)
	}
}
