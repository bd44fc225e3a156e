package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// run runs a program to its end, and returns what it printed and its status.
func run(t *testing.T, name string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	command := exec.Command(program(bin, name), args...)
	command.Stdout, command.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), command.ProcessState.ExitCode()
}

// Bad input: one clear line, the usage where that helps, the right status.
func TestCommandLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, takenPort, _ := net.SplitHostPort(taken.Addr().String())
	type row struct {
		args   []string
		status int
		line   string // the first of standard error
		usage  bool
	}
	rows := []row{
		{[]string{"-h"}, 0, `^usage: NAME \[flags\] host$`, true},
		{[]string{"localhost", "-h"}, 0, `^usage: NAME \[flags\] host$`, true},
		{nil, 2, `^expected one host, got \[\]$`, true},
		{[]string{"-p", "1060"}, 2, `^expected one host, got \[\]$`, true},
		{[]string{"localhost", "1060"}, 2, `^expected one host, got \["localhost" `, true},
		{[]string{"localhost", "-p", "1060", "ho\nst"}, 2, `^expected one host, got \["localhost" `, true},
		{[]string{"a\nb\x1b[31m"}, 2, `^expected one host, got \["a\\nb\\x1b\[31m"\]$`, true},
		{[]string{"-x", "localhost"}, 2, `^flag provided but not defined: -x$`, true},
		{[]string{"localhost", "-x"}, 2, `^flag provided but not defined: -x$`, true},
		{[]string{"localhost", "-p"}, 2, `^flag needs an argument: -p$`, true},
		{[]string{"-p", "65536", "localhost"}, 2, `^invalid value "65536" for flag -p: not a port$`, true},
		{[]string{"localhost", "-p", "-1"}, 2, `^invalid value "-1" for flag -p: not a port$`, true},
		{[]string{"-p", "zen", "localhost"}, 2, `^invalid value "zen" for flag -p: not a port$`, true},
		{[]string{"-p", "", "localhost"}, 2, `^invalid value "" for flag -p: not a port$`, true},
		{[]string{"no-such-host.invalid", "-p", "0"}, 1, `no-such-host.invalid`, false},
	}
	for _, name := range append([]string{"client"}, serverNames()...) {
		own := row{[]string{"127.0.0.1", "-p", takenPort}, 1, `^listen tcp 127\.0\.0\.1:\d+: bind: `, false}
		if name == "client" {
			own = row{[]string{"127.0.0.1", "-p", "0"}, 1, `^dial tcp 127\.0\.0\.1:0: `, false}
		}
		for _, row := range append(rows, own) {
			stdout, stderr, status := run(t, name, row.args...)
			first, rest, _ := strings.Cut(stderr, "\n")
			if stdout != "" || status != row.status || !regexp.MustCompile(strings.ReplaceAll(row.line, "NAME", name)).MatchString(first) {
				t.Errorf("%s %q: status %d, standard output %q, standard error\n%swant status %d and %s",
					name, row.args, status, stdout, stderr, row.status, row.line)
			}
			if row.usage != strings.Contains(stderr, "usage: "+name) || !row.usage && rest != "" {
				t.Errorf("%s %q: usage is wanted: %v\n%s", name, row.args, row.usage, stderr)
			}
			if strings.Contains(stderr, "goroutine 1 [") {
				t.Errorf("%s %q: stack trace\n%s", name, row.args, stderr)
			}
		}
	}
}

func serverNames() (names []string) {
	for _, server := range servers {
		if strings.HasPrefix(server.name, "srv_") {
			names = append(names, server.name)
		}
	}
	return names
}

// threeAnswers is what the client prints, in any order.
const threeAnswers = `"Beautiful is better than?" "Ugly."
"Explicit is better than?" "Implicit."
"Simple is better than?" "Complex."
`

func sorted(lines string) string {
	split := strings.SplitAfter(lines, "\n")
	slices.Sort(split)
	return strings.Join(split, "")
}

// The client asks every server, with its flags before and after the host.
func TestClient(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		host, port, _ := net.SplitHostPort(s.address)
		orders := map[string]bool{}
		for i := range 20 {
			args := []string{host, "-p", port}
			if i%2 == 0 {
				args = []string{"-p", port, host}
			}
			stdout, stderr, status := run(t, "client", args...)
			if sorted(stdout) != threeAnswers || stderr != "" || status != 0 {
				t.Fatalf("client %q: status %d\n%s%s", args, status, stdout, stderr)
			}
			orders[stdout] = true
		}
		if len(orders) == 1 {
			t.Error("20 times the same order")
		}
		for _, args := range [][]string{{"-e", host, "-p", port}, {host, "-p", port, "-e"}} {
			if stdout, stderr, status := run(t, "client", args...); stdout+stderr != "" || status != 0 {
				t.Errorf("client %q: status %d\n%s%s", args, status, stdout, stderr)
			}
		}
		s.log.awaitTimes(t, 2, `error: received "(Beautiful|Explicit|Simple) is better than" then socket closed$`)
	})
}

// An empty host is every interface to a server and this machine to a client.
func TestHosts(t *testing.T) {
	for _, name := range serverNames() {
		for _, test := range []struct{ listen, address, dial string }{
			{"", `\[::\]:(\d+)|0\.0\.0\.0:(\d+)`, ""},
			{"", `\[::\]:(\d+)|0\.0\.0\.0:(\d+)`, "127.0.0.1"},
			{"localhost", `127\.0\.0\.1:(\d+)|\[::1\]:(\d+)`, "localhost"},
			{"::1", `\[::1\]:(\d+)`, "::1"},
		} {
			t.Run(fmt.Sprintf("%s at %q, %q", name, test.listen, test.dial), func(t *testing.T) {
				if test.listen == "::1" && !hasIPv6() {
					t.Skip("SKIPPED: this machine has no IPv6")
				}
				s := newService(t, server{name: name})
				s.run(t, program(bin, name), "-p", "0", test.listen)
				match := s.log.await(t, `^Listening at (?:`+test.address+`)$`)
				port := strings.Join(match[1:], "")
				stdout, stderr, status := run(t, "client", test.dial, "-p", port)
				if sorted(stdout) != threeAnswers || status != 0 {
					t.Errorf("status %d\n%s%s", status, stdout, stderr)
				}
				s.log.await(t, `^Accepted connection from (127\.0\.0\.1|\[::1\]):\d+$`)
			})
		}
	}
}

func hasIPv6() bool {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		listener.Close()
	}
	return err == nil
}

// Behind a server that hangs up, answers with an error or never stops
// answering, the client fails with one line.
func TestClientOfBadServers(t *testing.T) {
	for _, test := range []struct{ answer, stdout, stderr string }{
		{"", `^$`, `^no answer to ".* is better than\?": EOF\n$`},
		{"Ug", `^$`, `^no answer to ".* is better than\?": EOF\n$`},
		{"Error: unknown aphorism.", `^".* is better than\?" "Error: unknown aphorism\."\n$`, `^the server does not know ".* is better than\?"\n$`},
		{strings.Repeat("x", 10_000), `^$`, `^no answer to ".* is better than\?": bufio: buffer full\n$`},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Read(make([]byte, 100))
			io.WriteString(conn, test.answer)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
			conn.Close()
		}()
		host, port, _ := net.SplitHostPort(listener.Addr().String())
		stdout, stderr, status := run(t, "client", host, "-p", port)
		if !regexp.MustCompile(test.stdout).MatchString(stdout) || !regexp.MustCompile(test.stderr).MatchString(stderr) || status != 1 {
			t.Errorf("server that answers %.30q: status %d\n%s%s", test.answer, status, stdout, stderr)
		}
		listener.Close()
	}
}
