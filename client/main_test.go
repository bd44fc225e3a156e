package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/socketserver"
	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M) { zentest.Main(m, main) }

// client returns a command that runs the client against a server on this machine.
func client(t *testing.T, serve func(net.Conn), flags ...string) *exec.Cmd {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go socketserver.Serve(listener, serve)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return zentest.Program(append(flags, "-p", port, "")...)
}

// answer serves a client that asks one question at a time: two at once are unknown.
func answer(conn net.Conn) {
	question := make([]byte, 100)
	for n, err := conn.Read(question); err == nil; n, err = conn.Read(question) {
		io.WriteString(conn, zen.Answer(question[:n]))
	}
}

// The client asks its three questions in random order, and thinks before each.
func TestClient(t *testing.T) {
	want := []string{"", `"Beautiful is better than?" "Ugly."`, `"Explicit is better than?" "Implicit."`, `"Simple is better than?" "Complex."`}
	last := map[string]bool{}
	for range 40 {
		got := zentest.Run(t, client(t, answer))
		lines := strings.Split(got.Stdout, "\n")
		last[lines[max(0, len(lines)-2)]] = true
		if slices.Sort(lines); !slices.Equal(lines, want) || got.Stderr != "" || got.Status != 0 {
			t.Fatalf("%+v", got)
		}
	}
	if len(last) != 3 {
		t.Errorf("the last question in 40 runs is always one of %v", last)
	}
	began := time.Now()
	zentest.Run(t, client(t, answer, "-think", "50ms"))
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("with -think 50ms three questions take %v", took)
	}
}

// To cause an error the client hangs up in the middle of the first question.
func TestCauseError(t *testing.T) {
	received := make(chan []byte, 1)
	got := zentest.Run(t, client(t, func(conn net.Conn) { all, _ := io.ReadAll(conn); received <- all }, "-e"))
	if all := string(<-received); all != "Beautiful is better than" || got != (zentest.Result{}) {
		t.Errorf("the server received %q; %+v", all, got)
	}
}

// If something fails, the client says so in one line.
func TestErrors(t *testing.T) {
	replies := func(text string) *exec.Cmd {
		return client(t, func(conn net.Conn) {
			conn.Read(make([]byte, 100))
			io.WriteString(conn, text)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
		})
	}
	unread := client(t, answer)
	reader, writer, _ := os.Pipe()
	reader.Close()
	unread.Stdout = writer
	for _, test := range []struct {
		command *exec.Cmd
		printed string // standard output, then standard error
	}{
		{replies(""), `no answer to ".* is better than\?": EOF`},
		{replies("Ug"), `no answer to ".* is better than\?": EOF`},
		{replies("Ugly."), `".*" "Ugly\."\n` + `no answer to ".* is better than\?": EOF`},
		{replies("Error: unknown aphorism."), `".*" "Error: unknown aphorism\."\n` + `the server does not know ".* is better than\?"`},
		{replies(strings.Repeat("x", 10_000)), `no answer to ".* is better than\?": bufio: buffer full`},
		{unread, `write /dev/stdout: .*`},
		{zentest.Program("-p", "0", "127.0.0.1"), `dial tcp 127\.0\.0\.1:0: .*`}, // nobody listens at port 0
	} {
		got := zentest.Run(t, test.command)
		if !regexp.MustCompile("^"+test.printed+"\n$").MatchString(got.Stdout+got.Stderr) || got.Status != 1 {
			t.Errorf("%+v; want %s, and status 1", got, test.printed)
		}
	}
}
