package zentest

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	anyServer = flag.String("server", "", "the `command` of a server, with {host} and {port}, to hold to the rules")
	anyAtOnce = flag.Int("at-once", 0, "how many clients that server serves at once; 0 is any number")
)

func TestMain(m *testing.M) { Main(m, testServer) }

// TestAny holds the server of the flag -server to the rules. Without the flag it
// holds a server without a fault to them, started as one in another language is.
func TestAny(t *testing.T) {
	line := *anyServer
	if line == "" {
		line = anotherLanguage(t)
	}
	command, err := words(line)
	if err != nil {
		t.Fatal(err)
	}
	Test(t, Server{AtOnce: *anyAtOnce, Command: command})
}

// anotherLanguage returns a command that starts this binary as if it were a program in
// another language.
func anotherLanguage(t *testing.T) string {
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED on Windows: the test needs env")
	}
	return "env " + programVariable + "=1 '" + Program().Path + "' -p {port} {host}"
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

// faultVariable is the environment variable that says which server of faults_test.go
// this binary is, or holds to the rules.
const faultVariable = "ZENTEST_FAULT"

// testAgain returns a command that runs some tests of this binary.
func testAgain(tests string, environment string, flags ...string) *exec.Cmd {
	command := exec.Command(Program().Path, append([]string{"-test.run", tests}, flags...)...)
	command.Env = append(os.Environ(), environment)
	endWithParent(command)
	return command
}

// TestFault holds one server to the rules. TestFaults runs it.
func TestFault(t *testing.T) {
	if name := os.Getenv(faultVariable); name != "" {
		Test(t, faults[slices.IndexFunc(faults, func(f fault) bool { return f.name == name })].server)
	}
}

// The suite notices each fault, and says what is wrong. It accuses no right server.
func TestFaults(t *testing.T) {
	bitten := map[string]bool{"WhoWaits": true, "WhereItWaits": true} // these compare with README.md
	for _, fault := range faults {
		bitten[fault.rule] = true
		t.Run(fault.rule+" "+fault.name, func(t *testing.T) {
			t.Parallel()
			if fault.rule == "Memory" && raced() {
				return // the rule does not apply
			}
			var output []byte
			for _, patience := range []string{"4s", "1m"} { // a busy machine needs more
				var err error
				command := testAgain("^TestFault$/^"+fault.rule+"$", faultVariable+"="+fault.name, "-patience", patience)
				output, err = command.CombinedOutput()
				if regexp.MustCompile(fault.says).Match(output) && (err == nil) == (fault.says == "") {
					t.Logf("%s", output)
					return
				}
			}
			t.Errorf("a server that %s should break %s with a failure that matches %q, and there is:\n%s", fault.name, fault.rule, fault.says, output)
		})
	}
	for _, rule := range rules {
		if !bitten[rule.name] {
			t.Errorf("no fault breaks the rule %s", rule.name)
		}
	}
}

// A test that is killed takes its server with it.
func TestKilled(t *testing.T) {
	const variable = "ZENTEST_KILLED"
	if os.Getenv(variable) != "" {
		fmt.Println("address:", start(t, Server{}, options{}).address)
		select {}
	}
	t.Parallel()
	command := testAgain("^TestKilled$", variable+"=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	defer command.Process.Kill()
	s := &service{patience: time.Minute}
	for lines := bufio.NewScanner(output); s.address == "" && lines.Scan(); {
		_, s.address, _ = strings.Cut(lines.Text(), "address: ")
	}
	c := s.connect(t)
	c.ask()
	command.Process.Kill()
	c.expectHangUp()
}
