//go:build unix

package main

import (
	"context"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/where/stacks"
)

// The test binary is also the program that is run: its name says which.
func TestMain(m *testing.M) {
	path := os.Getenv("WHERE_TEST_LOG")
	if path == "" {
		os.Exit(m.Run())
	}
	zen.LogFile = path
	flag.CommandLine = flag.NewFlagSet(os.Args[0], flag.ExitOnError) // without those of package testing
	switch filepath.Base(os.Args[0]) {
	case "in_zen1":
		zen.RedirectOutput()
		zen.HandleConversation(zen.StdinConn())
	case "server":
		os.Stderr.WriteString("a line of GODEBUG\n")
		log.Fatal(zen.AcceptConnectionsForever(zen.Listen(zen.ParseCommandLine("A server."))))
	case "mute":
		listener := zen.Listen(zen.ParseCommandLine("A server that hangs up."))
		for {
			conn, _ := listener.Accept()
			conn.Close()
		}
	case "silent": // until where ends it
		io.WriteString(dial(os.Getenv("WHERE_TEST_ADDRESS")), "started")
		select {}
	case "other":
		log.SetFlags(0)
		log.Fatal("no server")
	}
}

func dial(address string) net.Conn {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return conn
}

// program returns the path of the test binary under another name.
func program(t *testing.T, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	zen.LogFile = path + ".log"
	t.Setenv("WHERE_TEST_LOG", zen.LogFile)
	return path
}

// Run returns what a server prints on SIGQUIT, and leaves the log of in_zen1 as it was.
func TestRun(t *testing.T) {
	for _, name := range []string{"server", "in_zen1"} {
		path := program(t, name)
		const before = "precious\n"
		os.WriteFile(zen.LogFile, []byte(before), 0o644)
		dump, err := run(t.Context(), path)
		if err != nil || !strings.Contains(stacks.Picture(dump), "HandleConversation") {
			t.Errorf("%s: got %.200q, %v; want a stack with HandleConversation", name, dump, err)
		}
		if text, _ := os.ReadFile(zen.LogFile); string(text) != before {
			t.Errorf("%s: the log is %.200q, want %q", name, text, before)
		}
	}
}

// What others log meanwhile stays in the log.
func TestOthersLog(t *testing.T) {
	program(t, "in_zen1")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client := dial(listener.Addr().String())
	defer client.Close()
	const other = "Client 192.0.2.1:1 error: x\n"
	os.WriteFile(zen.LogFile, []byte("old\nAccepted connection from "+client.LocalAddr().String()+"\nSIGQUIT: quit\n"+other+"rest\n"), 0o644)
	if dump, err := takeFromLog(4, []net.Conn{client}); err != nil || !strings.HasSuffix(dump, "rest\n") {
		t.Errorf("got %q, %v", dump, err)
	}
	if text, _ := os.ReadFile(zen.LogFile); string(text) != "old\n"+other {
		t.Errorf("the log is %q", text)
	}
}

// What is not such a server is told in one line.
func TestNoServer(t *testing.T) {
	for name, want := range map[string]string{
		"other": `expected it to print Listening at, got "no server\n"`,
		"mute":  "no answer: ",
	} {
		if _, err := run(t.Context(), program(t, name)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	if _, err := run(t.Context(), "/no/such/program"); err == nil {
		t.Error("no error for a program that does not exist")
	}
	path := program(t, "in_zen1")
	zen.LogFile = "/no/such/log" // not where the program writes
	if _, err := run(t.Context(), path); err == nil || !strings.Contains(err.Error(), "/no/such/log") {
		t.Errorf("got %v for a log that cannot be read", err)
	}
}

// When where is told to end, it ends the program first.
func TestEnd(t *testing.T) {
	path := program(t, "silent")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	t.Setenv("WHERE_TEST_ADDRESS", listener.Addr().String())
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		conn, _ := listener.Accept()
		end()
		_, err := io.Copy(io.Discard, conn) // until the program has ended
		ended <- err
	}()
	if _, err := run(ctx, path); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	<-ended
}

// The filter copies lines as they come, and prints the picture in place of the
// stacks. No row is longer than 80 columns.
func TestFilter(t *testing.T) {
	const dump = "SIGQUIT: quit\nPC=0x1\n\ngoroutine 1 [IO wait]:\nmain.a12345678901234567890()\nmain.b1234567890123456789012345678901234567890()\nmain.main()\n\t/x/main.go:3\n\nrax 0x1\nexit status 2\n"
	const picture = "\n1 IO wait       main > b1234567890123456789012345678901234567890\n                > a12345678901234567890\n"
	for input, want := range map[string]string{
		"":                                       "",
		"one\ntwo":                               "one\ntwo",
		"SIGQUIT: quit\nPC=0x1\nother\n":         "SIGQUIT: quit\nPC=0x1\nother\n",
		"Listening\nSIGQUIT: quit\none\n" + dump: "Listening\nSIGQUIT: quit\none\n" + picture,
		strings.ReplaceAll(dump, "\n", "\r\n"):   picture,
	} {
		var output strings.Builder
		if err := filter(&output, strings.NewReader(input)); err != nil || output.String() != want {
			t.Errorf("%q: got %q, %v; want %q", input, output.String(), err, want)
		}
	}
	input, lines := io.Pipe()
	defer lines.Close()
	copied, output := io.Pipe()
	go filter(output, input)
	go io.WriteString(lines, "one\n")
	line := make([]byte, 4)
	if _, err := copied.Read(line); err != nil || string(line) != "one\n" {
		t.Errorf("read %q, %v", line, err)
	}
}
