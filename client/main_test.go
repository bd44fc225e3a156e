package main

import (
	"bytes"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M) { zentest.Main(m, main) }

func sorted(lines string) string {
	split := strings.SplitAfter(lines, "\n")
	slices.Sort(split)
	return strings.Join(split, "")
}

// The client asks three questions, in random order, with its flags before or
// after the host.
func TestClient(t *testing.T) {
	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)
	host, port := zentest.Serve(t, func(conn net.Conn) { zen.HandleConversation(conn) })
	last := map[string]bool{}
	for i := range 40 {
		args := []string{host, "-p", port}
		if i%2 == 0 {
			args = []string{"-p", port, host}
		}
		got := zentest.Run(t, nil, args...)
		want := "\"Beautiful is better than?\" \"Ugly.\"\n\"Explicit is better than?\" \"Implicit.\"\n\"Simple is better than?\" \"Complex.\"\n"
		if sorted(got.Stdout) != want || got.Stderr != "" || got.Status != 0 {
			t.Fatalf("client %q: %+v", args, got)
		}
		lines := strings.Split(got.Stdout, "\n")
		last[lines[2]] = true
	}
	if len(last) != 3 {
		t.Errorf("of three questions, %d were never the last in 40 times", 3-len(last))
	}
}

// To cause an error the client hangs up in the middle of the first question.
func TestCauseError(t *testing.T) {
	received := make(chan string)
	host, port := zentest.Serve(t, func(conn net.Conn) {
		all, _ := io.ReadAll(conn)
		conn.Close()
		received <- string(all)
	})
	for _, args := range [][]string{{"-e", host, "-p", port}, {host, "-p", port, "-e"}} {
		if got := zentest.Run(t, nil, args...); got != (zentest.Result{}) {
			t.Errorf("client %q: %+v", args, got)
		}
		if got, want := <-received, "Beautiful is better than"; got != want {
			t.Errorf("the server received %q, want %q", got, want)
		}
	}
}

// An empty host is this machine.
func TestHost(t *testing.T) {
	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)
	_, port := zentest.Serve(t, func(conn net.Conn) { zen.HandleConversation(conn) })
	if got := zentest.Run(t, nil, "", "-p", port); strings.Count(got.Stdout, "\n") != 3 || got.Status != 0 {
		t.Errorf("%+v", got)
	}
}

// If the server hangs up, does not know the answer or never ends it, the client
// fails with one line.
func TestBadServers(t *testing.T) {
	for _, test := range []struct{ answer, stdout, stderr string }{
		{"", `^$`, `^no answer to ".* is better than\?": EOF\n$`},
		{"Ug", `^$`, `^no answer to ".* is better than\?": EOF\n$`},
		{"Ugly.", `^".*" "Ugly\."\n$`, `^no answer to ".* is better than\?": EOF\n$`},
		{"Error: unknown aphorism.", `^".*" "Error: unknown aphorism\."\n$`, `^the server does not know ".* is better than\?"\n$`},
		{strings.Repeat("x", 10_000), `^$`, `^no answer to ".* is better than\?": bufio: buffer full\n$`},
	} {
		host, port := zentest.Serve(t, func(conn net.Conn) {
			conn.Read(make([]byte, 100))
			io.WriteString(conn, test.answer)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
			conn.Close()
		})
		got := zentest.Run(t, nil, host, "-p", port)
		if !regexp.MustCompile(test.stdout).MatchString(got.Stdout) || !regexp.MustCompile(test.stderr).MatchString(got.Stderr) || got.Status != 1 {
			t.Errorf("server that answers %.30q: %+v", test.answer, got)
		}
	}
}

// The client waits for each answer before it sends the next question.
func TestOneAtATime(t *testing.T) {
	early := make(chan bool, 10)
	host, port := zentest.Serve(t, func(conn net.Conn) {
		defer conn.Close()
		data := make([]byte, 1000)
		for range 3 {
			n, err := conn.Read(data)
			if err != nil {
				return
			}
			early <- bytes.Count(data[:n], []byte("?")) > 1
			io.WriteString(conn, "Ugly.")
		}
		io.Copy(io.Discard, conn)
	})
	if got := zentest.Run(t, nil, host, "-p", port); got.Status != 0 {
		t.Errorf("%+v", got)
	}
	for range 3 {
		if <-early {
			t.Error("two questions at once")
		}
	}
}

// If nobody reads what the client prints, it says so and fails.
func TestStdoutIsGone(t *testing.T) {
	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)
	host, port := zentest.Serve(t, func(conn net.Conn) { zen.HandleConversation(conn) })
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	reader.Close()
	got := zentest.Run(t, func(command *exec.Cmd) { command.Stdout = writer }, host, "-p", port)
	if !regexp.MustCompile(`^write /dev/stdout: .*\n$`).MatchString(got.Stderr) || got.Status != 1 {
		t.Errorf("%+v", got)
	}
}

// The client has a flag of its own beside those of every program.
func TestCommandLine(t *testing.T) {
	zentest.CheckCommandLine(t, []string{"127.0.0.1", "-p", "0"}, `^dial tcp 127\.0\.0\.1:0: `, "\n  -e\t")
}
