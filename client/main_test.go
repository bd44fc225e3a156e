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

// client returns a command that runs the client against a server on this machine, which
// calls answer for what each read returns. If the answer is "", the server hangs up.
func client(t *testing.T, answer func(question []byte) string, flags ...string) *exec.Cmd {
	listener := zen.Listen("127.0.0.1:0")
	t.Cleanup(func() { listener.Close() })
	go socketserver.Serve(listener, func(conn net.Conn) {
		question := make([]byte, 100)
		for n, err := conn.Read(question); err == nil; n, err = conn.Read(question) {
			if n, _ := io.WriteString(conn, answer(question[:n])); n == 0 {
				return
			}
		}
	})
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return zentest.Program(append(flags, "-p", port, "")...)
}

// The client asks its three questions one at a time, in random order, and thinks before
// each.
func TestClient(t *testing.T) {
	const want = `"Beautiful is better than?" "Ugly."
"Explicit is better than?" "Implicit."
"Simple is better than?" "Complex."
`
	orders := map[string]bool{}
	for range 40 {
		got := zentest.Run(t, client(t, zen.Answer))
		orders[got.Stdout] = true
		lines := strings.SplitAfter(got.Stdout, "\n")
		slices.Sort(lines)
		if got.Stdout = strings.Join(lines, ""); got != (zentest.Result{Stdout: want}) {
			t.Fatalf("%+v; want\n%s", got, want)
		}
	}
	if len(orders) < 4 { // of six; if one question never moves, there are two
		t.Errorf("in 40 runs the client asks in %d orders: %v", len(orders), orders)
	}
	began := time.Now()
	zentest.Run(t, client(t, zen.Answer, "-think", "50ms"))
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("with -think 50ms three questions take %v", took)
	}
}

// With -e the client hangs up in the middle of a question, which is always the first of
// the three.
func TestCauseError(t *testing.T) {
	received := make(chan string, 1)
	for range 8 {
		got := zentest.Run(t, client(t, func(question []byte) string { received <- string(question); return "" }, "-e"))
		if question := <-received; question != "Beautiful is better than" || got != (zentest.Result{}) {
			t.Errorf("the server received %q; %+v", question, got)
		}
	}
}

// If something fails, the client says so in one line.
func TestErrors(t *testing.T) {
	says := func(answer string) *exec.Cmd { return client(t, func([]byte) string { return answer }) }
	unread := says("Ugly.")
	reader, writer, _ := os.Pipe()
	reader.Close()
	unread.Stdout = writer
	for want, command := range map[string]*exec.Cmd{ // standard output, then standard error
		`no answer to ".* is better than\?": EOF`:                                          says(""),
		`no answer to ".* is better than\?": bufio: buffer full`:                           says(strings.Repeat("x", 10_000)),
		`".*" "Error: unknown aphorism\."\nthe server does not know ".* is better than\?"`: says("Error: unknown aphorism."),
		`write /dev/stdout: .*`:                                                            unread,
		`dial tcp 127\.0\.0\.1:0: .*`:                                                      zentest.Program("-p", "0", "127.0.0.1"), // nobody listens at port 0
	} {
		got := zentest.Run(t, command)
		if !regexp.MustCompile("^"+want+"\n$").MatchString(got.Stdout+got.Stderr) || got.Status != 1 {
			t.Errorf("%+v; want %s, and status 1", got, want)
		}
	}
}
