package zentest

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

var (
	anyServer = flag.String("server", "", "the `command` of a server, with {host} and {port}, to hold to the rules")
	anyAtOnce = flag.Int("at-once", 0, "how many clients that server serves at once; 0 is any number")
)

func TestMain(m *testing.M) { Main(m, chosen().run) }

// TestAny holds the server of the flag -server to the rules. Without the flag it
// holds a server without a fault to them, started as one in another language is.
func TestAny(t *testing.T) {
	line := *anyServer
	if line == "" {
		line = anotherLanguage(t)
	}
	if !strings.Contains(line, "{port}") {
		t.Fatal("-server: the command needs {port}, and {host} if the server can have one; the suite replaces them")
	}
	command := []string{"sh", "-c", "exec " + line}
	if runtime.GOOS == "windows" {
		command = strings.Fields(line)
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

// The suite notices each fault, and says what is wrong. It accuses no right server.
func TestFaults(t *testing.T) {
	if os.Getenv(faultVariable) != "" {
		Test(t, chosen().Server)
		return
	}
	if !hasProc() {
		t.Skip("SKIPPED: many faults are noticed only if the system tells what a server does, as Linux does")
	}
	bitten := map[string]bool{"WhoWaits": true, "WhereItWaits": true} // these compare with README.md
	for _, fault := range faults {
		says := cmp.Or(fault.says, "--- PASS: TestFaults/"+fault.rule)
		bitten[fault.rule] = bitten[fault.rule] || fault.says != ""
		t.Run(fault.rule+" "+fault.name, func(t *testing.T) {
			t.Parallel()
			if fault.rule == "Memory" && raced() {
				return // the rule does not apply
			}
			var output []byte
			for _, patience := range []string{"2s", "1m"} { // a busy machine needs more
				var err error
				command := testAgain("^TestFaults$/^"+fault.rule+"$", faultVariable+"="+fault.name, "-patience", patience, "-test.v")
				output, err = command.CombinedOutput()
				if strings.Contains(string(output), "--- SKIP") {
					t.Skipf("SKIPPED, as the rule was:\n%s", output)
				}
				if regexp.MustCompile(says).Match(output) && (err == nil) == (fault.says == "") {
					return
				}
			}
			t.Errorf("a server that %s should break %s with a failure that matches %q, and there is:\n%s", fault.name, fault.rule, says, output)
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
		fmt.Println("address:", start(t, Server{}).address)
		select {}
	}
	if len(unixRules) == 0 {
		t.Skip("SKIPPED on ", runtime.GOOS, ": nothing ends a server when its test is killed")
	}
	t.Parallel()
	command := testAgain("^TestKilled$", variable+"=1")
	command.Env = append(command.Env, "TMPDIR="+t.TempDir()) // it cannot remove its own
	output, err := command.StdoutPipe()
	must(t, err)
	must(t, command.Start())
	defer command.Wait()
	defer command.Process.Kill()
	s := &service{}
	_, err = fmt.Fscanf(output, "address: %s", &s.address)
	must(t, err)
	c := s.connect(t)
	c.ask()
	command.Process.Kill()
	c.expectHangUp()
}
