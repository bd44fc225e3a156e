package zentest

import (
	"net"
	"regexp"
	"strings"
	"testing"
)

var commandLine = rule{
	name:    "CommandLine",
	promise: "Bad arguments are one clear line and the right exit status.",
	mend:    "call zen.ParseCommandLine and zen.Listen.",
	applies: ourCommand,
	check: func(t testing.TB, server Server) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		_, port, _ := net.SplitHostPort(taken.Addr().String())
		server.checkCommandLine(t, []string{"127.0.0.1", "-p", port}, `^listen tcp 127\.0\.0\.1:\d+: bind: `)
	},
}

// CheckCommandLine tries bad arguments on a program that is not a server. The
// arguments in failing are valid, but the program must fail with an error that
// matches line. The usage must list the flags of every program, and more.
func CheckCommandLine(t testing.TB, failing []string, line string, more ...string) {
	t.Helper()
	Server{}.checkCommandLine(t, failing, line, more...)
}

func (server Server) checkCommandLine(t testing.TB, failing []string, line string, more ...string) {
	t.Helper()
	for _, row := range []struct {
		args   []string
		status int
		line   string // the first line of standard error
	}{
		{[]string{"-h"}, 0, `^usage: NAME \[flags\] host$`},
		{[]string{"localhost", "-h"}, 0, `^usage: NAME \[flags\] host$`},
		{nil, 2, `^expected one host, got `},
		{[]string{"-p", "1060"}, 2, `^expected one host, got `},
		{[]string{"localhost", "1060"}, 2, `^expected one host, got `},
		{[]string{"localhost", "-p", "1060", "ho\nst"}, 2, `^expected one host, got .*\\n`},
		{[]string{"a\nb\x1b[31m"}, 2, `^expected one host, got .*\\n`},
		{[]string{"-x", "localhost"}, 2, `^flag provided but not defined: -x$`},
		{[]string{"localhost", "-x"}, 2, `^flag provided but not defined: -x$`},
		{[]string{"localhost", "-p"}, 2, `^flag needs an argument: -p$`},
		{[]string{"-p", "65536", "localhost"}, 2, `^invalid value "65536" for flag -p: not a port$`},
		{[]string{"localhost", "-p", "-1"}, 2, `^invalid value "-1" for flag -p: not a port$`},
		{[]string{"-p", "zen", "localhost"}, 2, `^invalid value "zen" for flag -p: not a port$`},
		{[]string{"-p", "", "localhost"}, 2, `^invalid value "" for flag -p: not a port$`},
		{[]string{"localhost", "-think", "x"}, 2, `^invalid value "x" for flag -think: `},
		{[]string{"no-such-host.invalid", "-p", "0"}, 1, `no-such-host.invalid`},
		{failing, 1, line},
	} {
		got := server.run(t, nil, row.args...)
		first, rest, _ := strings.Cut(got.Stderr, "\n")
		want := strings.ReplaceAll(row.line, "NAME", programName())
		if got.Stdout != "" || got.Status != row.status || !regexp.MustCompile(want).MatchString(first) {
			t.Errorf("With the arguments %q the program should print nothing, and on standard error first a line that matches %s, and exit with status %d. It printed %q, exited with status %d, and on standard error there is:\n%s",
				row.args, want, row.status, got.Stdout, got.Status, got.Stderr)
		}
		if row.status == 1 {
			if rest != "" {
				t.Errorf("With the arguments %q the program should print one line, and printed:\n%s", row.args, got.Stderr)
			}
			continue
		}
		for _, part := range append([]string{"usage: " + programName() + " ", "\n  host\n", "\n  -p port\n", "\n  -think "}, more...) {
			if !strings.Contains("\n"+got.Stderr, part) {
				t.Errorf("With the arguments %q the program should print a usage with %q, and printed:\n%s", row.args, part, got.Stderr)
			}
		}
	}
}

var hosts = rule{
	name:    "Hosts",
	promise: "An empty host is every interface.",
	mend:    "call zen.ParseCommandLine and zen.Listen.",
	applies: ourCommand,
	check: func(t testing.TB, server Server) {
		for _, host := range []struct{ listen, address, dial string }{
			{"", `\[::\]:(\d+)|0\.0\.0\.0:(\d+)`, "127.0.0.1"},
			{"", `\[::\]:(\d+)|0\.0\.0\.0:(\d+)`, "localhost"},
			{"localhost", `127\.0\.0\.1:(\d+)|\[::1\]:(\d+)`, "localhost"},
			{"::1", `\[::1\]:(\d+)`, "::1"},
			{"[::1]", `\[::1\]:(\d+)`, "::1"},
		} {
			if strings.Contains(host.listen, "::1") {
				listener, err := net.Listen("tcp", "[::1]:0")
				if err != nil {
					t.Log("SKIPPED in part: this machine has no IPv6")
					continue
				}
				listener.Close()
			}
			s := start(t, server, options{arguments: []string{"-p", "0", host.listen}})
			match := s.await(t, `^Listening at (?:`+host.address+`)$`)
			s.address = net.JoinHostPort(host.dial, strings.Join(match[1:], ""))
			s.serveOne(t)
			s.await(t, `^Accepted connection from (127\.0\.0\.1|\[::1\]):\d+$`)
			s.stop(t)
		}
	},
}
