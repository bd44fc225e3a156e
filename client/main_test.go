package main

import (
	"bytes"
	"io"
	"log"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M) { zentest.Main(m, main) }

// serve runs a server, which calls handle for each client, and returns its host
// and port.
func serve(t *testing.T, handle func(conn net.Conn)) (host, port string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
	host, port, _ = net.SplitHostPort(listener.Addr().String())
	return host, port
}

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
	host, port := serve(t, func(conn net.Conn) { zen.HandleConversation(conn) })
	last := map[string]bool{}
	for i := range 40 {
		args := []string{host, "-p", port}
		if i%2 == 0 {
			args = []string{"-p", port, host}
		}
		stdout, stderr, _, status := zentest.Run(t, nil, args...)
		want := "\"Beautiful is better than?\" \"Ugly.\"\n\"Explicit is better than?\" \"Implicit.\"\n\"Simple is better than?\" \"Complex.\"\n"
		if sorted(stdout) != want || stderr != "" || status != 0 {
			t.Fatalf("client %q: status %d\n%s%s", args, status, stdout, stderr)
		}
		lines := strings.Split(stdout, "\n")
		last[lines[2]] = true
	}
	if len(last) != 3 {
		t.Errorf("of three questions, %d were never the last in 40 times", 3-len(last))
	}
}

// To cause an error the client hangs up in the middle of the first question.
func TestCauseError(t *testing.T) {
	received := make(chan string)
	host, port := serve(t, func(conn net.Conn) {
		all, _ := io.ReadAll(conn)
		conn.Close()
		received <- string(all)
	})
	for _, args := range [][]string{{"-e", host, "-p", port}, {host, "-p", port, "-e"}} {
		stdout, stderr, _, status := zentest.Run(t, nil, args...)
		if stdout+stderr != "" || status != 0 {
			t.Errorf("client %q: status %d\n%s%s", args, status, stdout, stderr)
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
	_, port := serve(t, func(conn net.Conn) { zen.HandleConversation(conn) })
	if stdout, stderr, _, status := zentest.Run(t, nil, "", "-p", port); strings.Count(stdout, "\n") != 3 || status != 0 {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
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
		host, port := serve(t, func(conn net.Conn) {
			conn.Read(make([]byte, 100))
			io.WriteString(conn, test.answer)
			conn.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, conn)
			conn.Close()
		})
		stdout, stderr, _, status := zentest.Run(t, nil, host, "-p", port)
		if !regexp.MustCompile(test.stdout).MatchString(stdout) || !regexp.MustCompile(test.stderr).MatchString(stderr) || status != 1 {
			t.Errorf("server that answers %.30q: status %d\n%s%s", test.answer, status, stdout, stderr)
		}
	}
}

// The client waits for each answer before it sends the next question.
func TestOneAtATime(t *testing.T) {
	early := make(chan bool, 10)
	host, port := serve(t, func(conn net.Conn) {
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
	if _, stderr, _, status := zentest.Run(t, nil, host, "-p", port); status != 0 {
		t.Errorf("status %d\n%s", status, stderr)
	}
	for range 3 {
		if <-early {
			t.Error("two questions at once")
		}
	}
}

func TestCommandLine(t *testing.T) {
	zentest.CheckCommandLine(t, []string{"127.0.0.1", "-p", "0"}, `^dial tcp 127\.0\.0\.1:0: `)
}
