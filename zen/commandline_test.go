package zen

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen/listening"
)

// programVariable is the environment variable that makes this test binary one of
// programs.
const programVariable = "ZEN_TEST_PROGRAM"

var programs = map[string]func(){
	"parse":   func() { fmt.Println(ParseCommandLine("A server."), ThinkingTime) },
	"listen":  func() { Listen(ParseCommandLine("A server.")) },
	"twice":   func() { Listen(Listen(ParseCommandLine("A server.")).Addr().String()) },
	"missing": func() { listening.Missing = errors.New("no event loop here"); Listen(ParseCommandLine("A server.")) },
}

func TestMain(m *testing.M) {
	if log.Flags() != log.LstdFlags || flag.Lookup("p") != nil {
		panic("importing the package changes the log or the flags of a program")
	}
	if program := programs[os.Getenv(programVariable)]; program != nil {
		time.AfterFunc(time.Minute, func() { panic("the program does not end") })
		os.Args[0] = "srv"
		flag.CommandLine = flag.NewFlagSet("srv", flag.ExitOnError) // without those of go test
		program()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// again returns a command that runs this test binary as one of programs.
func again(program string, args ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], args...)
	command.Env = append(os.Environ(), programVariable+"="+program, "GORACE=atexit_sleep_ms=0")
	return command
}

func TestCommandLine(t *testing.T) {
	const usage = `usage: srv \[flags\] host\nA server\.\n(.*\n)*  -p port\n(.*\n)*  -think duration\n(.*\n)*`
	for _, test := range []struct {
		program, args  string // args between bars
		status         int
		stdout, stderr string // stderr is a regular expression
	}{
		{"parse", "localhost", 0, "localhost:1060 0s\n", ""},
		{"parse", "", 0, ":1060 0s\n", ""},
		{"parse", "''", 0, ":1060 0s\n", ""},
		{"parse", "::1", 0, "[::1]:1060 0s\n", ""},
		{"parse", "[::1]", 0, "[::1]:1060 0s\n", ""},
		{"parse", "-think|1s|localhost|-p=65535", 0, "localhost:65535 1s\n", ""},
		{"parse", "-h", 0, "", usage},
		{"parse", "-p|0", 2, "", `expected one host, got \[\]\n` + usage},
		{"parse", "a|b", 2, "", `expected one host, got \["a" "b"\]\n` + usage},
		{"parse", "a\nb", 2, "", `expected one host, got \["a\\nb"\]\n` + usage},
		{"parse", "-x|localhost", 2, "", `flag provided but not defined: -x\n` + usage},
		{"parse", "-p|65536|localhost", 2, "", `invalid value "65536" for flag -p: not a port\n` + usage},
		{"parse", "-p|http|localhost", 2, "", `invalid value "http" for flag -p: not a port\n` + usage},
		{"listen", "-p|0|", 0, "", `Listening at (\[::\]|0\.0\.0\.0):[1-9]\d*\n`},
		{"twice", "127.0.0.1|-p|0", 1, "", `Listening at .*\nlisten tcp 127\.0\.0\.1:\d+: .*\n`},
		{"missing", "127.0.0.1|-p|0", 1, "", `no event loop here\n`},
	} {
		command := again(test.program, strings.Split(test.args, "|")...)
		var stdout, stderr strings.Builder
		command.Stdout, command.Stderr = &stdout, &stderr
		err := command.Run() // also of a status that is not 0
		if status := command.ProcessState.ExitCode(); status != test.status || stdout.String() != test.stdout ||
			!regexp.MustCompile("^"+test.stderr+"$").MatchString(stderr.String()) {
			t.Errorf("%s %q: %v, standard output %q, standard error\n%swant status %d, %q and\n%s",
				test.program, test.args, err, stdout.String(), stderr.String(), test.status, test.stdout, test.stderr)
		}
	}
}
