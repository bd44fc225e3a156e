package zen_test

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"regexp"
	"strings"
	"testing"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/listening"
	"fopnp/chapter07/zen/zentest"
)

// programs are what this test binary can be. The first argument says which.
var programs = map[string]func(){
	"parse":   func() { fmt.Println(parse(), zen.ThinkingTime) },
	"listen":  func() { zen.Listen(parse()) },
	"twice":   func() { zen.Listen(zen.Listen(parse()).Addr().String()) },
	"missing": func() { listening.Missing = errors.New("no event loop here"); zen.Listen(parse()) },
}

func parse() (address string) { return zen.ParseCommandLine("A server.") }

func TestMain(m *testing.M) {
	if log.Flags() != log.LstdFlags || flag.Lookup("p") != nil {
		panic("importing the package changes the log or the flags of a program")
	}
	zentest.Main(m, func() {
		program := programs[os.Args[1]]
		os.Args = append(os.Args[:1], os.Args[2:]...)
		program()
	})
}

func TestCommandLine(t *testing.T) {
	const usage = `usage: zen \[flags\] host\nA server\.\n(.*\n)*  -p port\n(.*\n)*  -think duration\n(.*\n)*`
	for _, test := range []struct {
		args           string // between bars
		status         int
		stdout, stderr string // stderr is a regular expression
	}{
		{"parse|localhost", 0, "localhost:1060 0s\n", ""},
		{"parse|", 0, ":1060 0s\n", ""},
		{"parse|''", 0, ":1060 0s\n", ""},
		{"parse|::1", 0, "[::1]:1060 0s\n", ""},
		{"parse|[::1]", 0, "[::1]:1060 0s\n", ""},
		{"parse|-think|1s|localhost|-p=65535", 0, "localhost:65535 1s\n", ""},
		{"parse|-h", 0, "", usage},
		{"parse|-p|0", 2, "", `expected one host, got \[\]\n` + usage},
		{"parse|a|b", 2, "", `expected one host, got \["a" "b"\]\n` + usage},
		{"parse|a\nb", 2, "", `expected one host, got \["a\\nb"\]\n` + usage},
		{"parse|-x|localhost", 2, "", `flag provided but not defined: -x\n` + usage},
		{"parse|-p|65536|localhost", 2, "", `invalid value "65536" for flag -p: not a port\n` + usage},
		{"parse|-p|http|localhost", 2, "", `invalid value "http" for flag -p: not a port\n` + usage},
		{"listen|-p|0|", 0, "", `Listening at (\[::\]|0\.0\.0\.0):[1-9]\d*\n`},
		{"twice|127.0.0.1|-p|0", 1, "", `Listening at .*\nlisten tcp 127\.0\.0\.1:\d+: .*\n`},
		{"missing|127.0.0.1|-p|0", 1, "", `no event loop here\n`},
	} {
		got := zentest.Run(t, zentest.Program(strings.Split(test.args, "|")...))
		if got.Status != test.status || got.Stdout != test.stdout || !regexp.MustCompile("^"+test.stderr+"$").MatchString(got.Stderr) {
			t.Errorf("%q: %+v\nwant status %d, %q and\n%s", test.args, got, test.status, test.stdout, test.stderr)
		}
	}
}
